// The view follows the end while the person is there, and says what came otherwise.

const NEAR = 60; // pixels from the end that still count as being there

export class Follow {
  #scroller;
  #button;
  #fresh = 0;
  #atEnd = true;

  constructor(scroller, button) {
    this.#scroller = scroller;
    this.#button = button;
    scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    button.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => {
      if (this.#atEnd) this.toEnd();
    }).observe(scroller);
  }

  get atEnd() {
    return this.#atEnd;
  }

  // Change the conversation, then stay where the person is.
  during(change) {
    change();
    if (this.#atEnd) this.toEnd();
    else this.#label();
  }

  // Something was put in above: what is in view stays in view.
  above(change) {
    const before = this.#scroller.scrollHeight - this.#scroller.scrollTop;
    change();
    this.#scroller.scrollTop = this.#scroller.scrollHeight - before;
  }

  arrived() {
    if (!this.#atEnd || document.hidden) this.#fresh += 1;
    this.#label();
  }

  toEnd() {
    this.#atEnd = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    if (!document.hidden) this.#fresh = 0;
    this.#label();
  }

  seen() {
    if (this.#atEnd) this.#fresh = 0;
    this.#label();
  }

  get fresh() {
    return this.#fresh;
  }

  #look() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    this.#atEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.#atEnd && !document.hidden) this.#fresh = 0;
    this.#label();
  }

  #label() {
    this.#button.hidden = this.#atEnd;
    this.#button.classList.toggle("fresh", this.#fresh > 0);
    const text = this.#fresh > 0 ? `${this.#fresh} new ↓` : "To the end ↓";
    if (this.#button.textContent !== text) this.#button.textContent = text;
  }
}
