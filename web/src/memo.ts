// Skips drawing a component whose properties are all the same objects as before; a long conversation
// then costs, per frame, only the part that grew.

import { Component, type ComponentType, h } from "preact";

export function memo<P extends object>(Inner: ComponentType<P>): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const now = this.props;
      const keys = new Set([...Object.keys(now), ...Object.keys(next)]) as Set<keyof P>;
      return [...keys].some((key) => !Object.is(now[key], next[key]));
    }
    override render() {
      return h(Inner, this.props as P & object);
    }
  };
}
