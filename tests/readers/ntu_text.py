"""Write `.skeleton` text from positions, with columns other than x, y, z that no reader needs."""

import numpy as np

OTHER_COLUMNS = "0 0 nan 0 1 0 0 0 2"


def skeleton_text(frames) -> str:
    """Write frames, each a list of (body id, positions [25, 3] in metres)."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for body_id, joints in bodies:
            lines += [f"{body_id} 0 0 0 0 0 0 0 0 2", str(len(joints))]
            lines += [f"{x} {y} {z} {OTHER_COLUMNS}" for x, y, z in np.asarray(joints).tolist()]
    return "\n".join(lines) + "\n"


def standing(x=0.0, *, width=0.5, height=1.6):
    """Return a body of 25 joints at x: joint j at a share of the width and height that differs between joints."""
    shares = np.linspace(0, 1, 25)
    return np.stack([x + width * shares, height * shares**2, np.full(25, 2.0)], axis=1)
