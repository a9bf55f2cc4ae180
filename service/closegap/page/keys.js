// Keys that mean something on their own.

/** Whether a key goes into a field, a dialog, or is part of a browser's own shortcut. */
export function isTyping(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return true;
  return Boolean(event.target.closest?.("input:not([type=checkbox]), textarea, select, dialog, [contenteditable]"));
}
