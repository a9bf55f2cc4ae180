"""How figures are written: a real minus sign, the error beside the value."""

from __future__ import annotations

MINUS = "−"


def decimals(value: float | None) -> int:
    """Digits after the point in the shortest text of a number."""
    return len(f"{value or 0.0:.8g}".partition(".")[2])


def spread(value: float, error: float | None, digits: int) -> str:
    """With a real minus sign, and the error where there is one."""
    text = f"{value:.{digits}f}".replace("-", MINUS)
    return text if error is None else f"{text} ± {error:.{digits}f}"


def signed(value: float | None, error: float | None, digits: int) -> str:
    """`+0.30 ± 0.04`."""
    if value is None:
        return ""
    text = f"{value:+.{digits}f}".replace("-", MINUS)
    return text if error is None else f"{text} ± {error:.{digits}f}"
