// SPDX-License-Identifier: Apache-2.0
// A group of buttons that is one stop of the Tab key; arrows, Home and End go from button to button within it.

export function rove(buttons, columns, onMove = () => {}) {
  const enter = (chosen) => buttons.forEach((button) => (button.tabIndex = button === chosen ? 0 : -1));
  const go = (place) => {
    enter(buttons[place]);
    buttons[place].focus();
    onMove(buttons[place]);
  };
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
  buttons.forEach((button, place) => {
    button.addEventListener("focus", () => enter(button));
    button.addEventListener("keydown", (event) => {
      const ends = { Home: 0, End: buttons.length - 1 };
      const target = event.key in ends ? ends[event.key] : place + (steps[event.key] ?? NaN);
      if (target === place || !(target in buttons)) return;
      event.preventDefault();
      go(target);
    });
  });
  enter(buttons[0]);
  return enter;
}
