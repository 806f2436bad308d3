// An agent in plain Go (1.19 or newer): tells how long ago things were said.
//
//	go run examples/agents/agent.go          # PORT=9000 is the default
//	OPENCLAW_AGENT_URL=http://127.0.0.1:9000/rpc/message
//
// "find WORD" searches the history that comes with each call; anything else is
// said back. Answers stream as lines of JSON. Standard library only.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	maxBytes   = 64 << 20
	remembered = 1000
	wordPause  = 5 * time.Millisecond
)

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type question struct {
	Messages []*message `json:"messages"`
	Waiting  int        `json:"waiting"`
	Stream   bool       `json:"stream"`
}

// memory holds which keys were answered and how; the oldest go first.
type memory struct {
	sync.Mutex
	answers map[string]string
	order   []string
}

func (m *memory) answer(key string, asked *question) string {
	m.Lock()
	defer m.Unlock()
	if known, ok := m.answers[key]; ok && key != "" {
		return known
	}
	text := compose(asked)
	if key != "" {
		m.answers[key] = text
		m.order = append(m.order, key)
		if len(m.order) > remembered {
			delete(m.answers, m.order[0])
			m.order = m.order[1:]
		}
	}
	return text
}

func read(body io.Reader) (*question, error) {
	var asked *question
	if err := json.NewDecoder(body).Decode(&asked); err != nil {
		return nil, errors.New("the body is not a question")
	}
	if asked == nil || len(asked.Messages) == 0 {
		return nil, errors.New("messages must be a list with at least one message")
	}
	for _, one := range asked.Messages {
		if one == nil {
			return nil, errors.New("a message must be an object")
		}
	}
	return asked, nil
}

// waiting joins what is to be answered: the last messages, as many as the gateway says.
func waiting(asked *question) string {
	first := len(asked.Messages) - max(asked.Waiting, 1)
	var texts []string
	for _, one := range asked.Messages[max(first, 0):] {
		if one.Role == "user" {
			texts = append(texts, one.Content)
		}
	}
	return strings.Join(texts, "\n")
}

func max(one, other int) int { // built in since Go 1.21
	if one > other {
		return one
	}
	return other
}

func compose(asked *question) string {
	messages, text := asked.Messages, waiting(asked)
	word := strings.TrimPrefix(text, "find ")
	if word == text {
		return "You said: " + text
	}
	for back := len(messages) - 2; back >= 0; back-- {
		if strings.Contains(messages[back].Content, word) {
			return fmt.Sprintf("%d messages ago: %s", len(messages)-1-back, messages[back].Content)
		}
	}
	return "Nobody has said " + word + "."
}

func whole(w http.ResponseWriter, status int, data any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(data) // the other side may be gone; nothing is owed to it
}

var pieces = regexp.MustCompile(`\s*\S+|\s+$`)

// stream says the answer word by word, until the gateway closes the connection.
func stream(done context.Context, w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(w)
	words := pieces.FindAllString(text, -1)
	step := len(words)/200 + 1
	for start := 0; start < len(words); start += step {
		end := start + step
		if end > len(words) {
			end = len(words)
		}
		piece := strings.Join(words[start:end], "")
		if lines.Encode(map[string]string{"type": "token", "text": piece}) != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-done.Done(): // cancelled
			return
		case <-time.After(wordPause): // where a model would think
		}
	}
	_ = lines.Encode(map[string]string{"type": "final", "content": text})
}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "9000"
	}
	served := &memory{answers: map[string]string{}}
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		whole(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	http.HandleFunc("/rpc/message", func(w http.ResponseWriter, r *http.Request) {
		asked, err := read(http.MaxBytesReader(w, r.Body, maxBytes))
		if err != nil {
			whole(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		text := served.answer(r.Header.Get("Idempotency-Key"), asked)
		if asked.Stream {
			stream(r.Context(), w, text)
		} else {
			whole(w, http.StatusOK, map[string]string{"content": text})
		}
	})
	fmt.Printf("listening on http://127.0.0.1:%s/rpc/message\n", port)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+port, nil))
}
