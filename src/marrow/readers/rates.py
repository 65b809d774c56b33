"""Frame rates that are likely something else: a time, a rate in its place, milliseconds."""

# Frames per second of a recording; what is outside is likely a time, a rate in its place, or milliseconds.
FPS_PLAUSIBLE = (5.0, 1000.0)


def doubt_rate(fps: float) -> str | None:
    """Say what is odd about frames per second; None where nothing is."""
    least, most = FPS_PLAUSIBLE
    if least <= fps <= most:
        return None
    meant = [
        f"{meaning} ({rate:.4g} per second)"
        for rate, meaning in ((1 / fps, "a rate"), (1000 * fps, "milliseconds"))
        if least <= rate <= most
    ]
    if meant:
        return f"{fps:.4g} frames per second: is the time between frames {' or '.join(meant)}?"
    return f"{fps:.4g} frames per second are unusual"
