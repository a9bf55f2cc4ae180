// How wide a chart's place is, now and when the window changes.
import { useEffect, useRef, useState } from "../dom.js";

/** [ref, width]: width is 0 until the place is there. */
export function useWidth() {
  const place = useRef(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const sized = new ResizeObserver(() => place.current && setWidth(place.current.clientWidth));
    sized.observe(place.current);
    setWidth(place.current.clientWidth);
    return () => sized.disconnect();
  }, []);
  return [place, width];
}
