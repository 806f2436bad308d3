// The copy button of a block of code: says what became of it, and is as before soon after.

export async function copy(button) {
  const code = button.closest(".code").querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code); // no clipboard on plain http beyond this machine
    button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
  }
  setTimeout(() => {
    button.textContent = "Copy";
  }, 1600);
}
