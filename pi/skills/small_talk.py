"""Greetings, thanks, and what Pi says about itself."""

from __future__ import annotations

import re

CONNECT = """\
To connect a language model, put its name and address into `.env` beside `manage.py`, and restart:

```
OPENCLAW_LLM_MODEL=llama3.2
OPENCLAW_LLM_BASE_URL=http://127.0.0.1:11434/v1
OPENCLAW_LLM_API_KEY=only-where-the-server-asks-for-one
```

Any OpenAI-compatible server will do: Ollama, llama.cpp, vLLM or a hosted one."""

HELP = f"""\
I am Pi, the agent that comes with this gateway. No language model is connected, \
so I answer only what I can work out or keep for you:

- reminders: `remind me tomorrow at 9 to call Ana`, `what are my reminders`, \
`cancel the reminder about Ana`
- every day: `every day at 9:00 send me a summary of my day`
- notes: `note that I like tea`, `what do you know about me`
- what was said: `what did I say about the invoice?`
- files: `save to file list.txt: milk, eggs`, `read list.txt`, `list my files`
- arithmetic: `17% of 240`, `20% off 80`, `12*(3+4)`, `how many minutes in 3 hours`
- times: `what time is it`, `time in Tokyo`
- dates: `what day is it in 10 days`, `days until 24 December`, `what weekday was 2000-02-29`

{CONNECT}"""

UNKNOWN = (
    "No language model is connected, so I cannot answer that; I do reminders, notes, searches in "
    "what you said, arithmetic, dates and times. Write `help` for examples and for how to connect "
    "a model (`OPENCLAW_LLM_MODEL` and `OPENCLAW_LLM_BASE_URL` in `.env`)."
)
NOT_PLANNED = (
    "I could not do that without a language model when its time comes, so I have not planned it. "
    "A summary of your day, the date, or a reminder with your own words I can send."
)
ATTACHMENT = "I cannot look at attachments without a language model."
EMPTY = "Your message is empty. Write `help` to see what I can do."
GREETING = (
    "Hello! I am Pi. I do reminders, notes, arithmetic, dates and times; write `help` to see how."
)

_ANSWERS: tuple[tuple[str, str], ...] = (
    (
        r"/?(?:help|commands|usage|info)(?: me)?|what (?:can|do) you do"
        r"|what can i (?:ask|say)(?: you)?"
        r"|how (?:do|does) (?:this|you|it) work|what are you (?:able to do|good at)|/start help",
        HELP,
    ),
    (
        r"(?:how (?:do|can) i )?(?:connect|set up|setup|configure|add|use) (?:a |an |the |my )?"
        r"(?:language |own )?(?:model|llm|ollama|openai).*",
        CONNECT,
    ),
    (
        r"/start|(?:hi|hello|hey|hiya|howdy|yo|greetings|hallo"
        r"|good (?:morning|afternoon|evening|day))"
        r"(?: (?:there|pi|again|everyone|all|you))?(?:[,!]? .?)?",
        GREETING,
    ),
    (
        r"(?:thanks|thank you|thx|ty|cheers|many thanks|thank u)"
        r"(?: (?:so much|very much|a lot|pi|you))*",
        "You are welcome.",
    ),
    (
        r"(?:bye|goodbye|good bye|good night|see you|see ya|ciao)(?: (?:pi|later|soon|tomorrow))?",
        "Goodbye!",
    ),
    (
        r"how are you(?: (?:doing|today))*|how is it going|how do you do",
        "I am well, thank you. What can I work out for you?",
    ),
    (
        r"who are you|what are you|what is your name"
        r"|are you (?:a |an )?(?:human|bot|ai|robot|person)",
        "I am Pi, the agent that comes with this gateway: a small program, with no language model "
        "connected at the moment.",
    ),
    (r"/?ping", "pong"),
    (r"test(?:ing)?|are you there|hello\? anyone(?: there)?", "I am here."),
)
_COMPILED = tuple((re.compile(pattern), answer) for pattern, answer in _ANSWERS)


def small_talk(phrase: str) -> str | None:
    """The set answer to a set phrase."""
    return next((answer for pattern, answer in _COMPILED if pattern.fullmatch(phrase)), None)
