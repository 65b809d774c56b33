"""Numbers of tasks in plain words: what `Report.metrics` calls `map_actions_iou50_percent` is written out on a page."""

import re

_OVERLAP = r"iou(\d+)"
# The first that fits; what it has found is put in the place of {}: a share of overlap, milliseconds, a rank.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"top1(?:_last)?", "top-1 accuracy"),
    (r"top1_best", "top-1 accuracy of the best epoch (too high by construction)"),
    (r"top1_draws_std", "deviation of top-1 accuracy over draws of labels"),
    (r"mpjpe_(\d+)ms", "position error {} ms ahead"),
    (r"mpjpe_root_(\d+)ms", "position error {} ms ahead, root-centred"),
    (rf"map_actions_{_OVERLAP}", "mean average precision over classes, overlap {}"),
    (rf"map_videos_{_OVERLAP}", "mean average precision over recordings, overlap {}"),
    (rf"voc_map_{_OVERLAP}", "mean average precision as in PASCAL VOC, overlap {}"),
    (rf"ap_{_OVERLAP}", "average precision of all proposals, overlap {}"),
    (rf"f1_{_OVERLAP}", "F1 of proposals, overlap {}"),
    (r"ap_2d", "average precision, mean over overlaps 0.05 to 1"),
    (r"frame_accuracy", "frames with the right class"),
    (r"frame_accuracy_actions", "frames of actions with the right class"),
    (r"frame_f1", "F1 of frames, mean over classes and background"),
    (r"frame_f1_actions", "F1 of frames, mean over classes"),
    (r"segment_f1_(\d+)", "F1 of segments, overlap {}"),
    (r"edit", "edit score of the order of actions"),
    (r"recall_?(?:at_?|@)?(\d+)", "recall at {}"),
    (r"(?:map|mean_average_precision)", "mean average precision"),
)
_UNITS = {"percent": "%", "mm": "mm"}


def split_unit(name: str) -> tuple[str, str]:
    """Return a number's name without its unit, and the unit as it is written after numbers; "" where it has none."""
    for ending, unit in _UNITS.items():
        if name.endswith(f"_{ending}"):
            return name.removesuffix(f"_{ending}"), unit
    return name, ""


def measure_words(name: str) -> str:
    """Say a number's name in plain words, without its unit; of one that is not known, its own words."""
    plain, _ = split_unit(name)
    clean = ", without copies" if "_clean" in plain else ""
    plain = plain.replace("_clean", "")
    for pattern, words in _WORDS:
        if found := re.fullmatch(pattern, plain):
            value = found.group(1) if found.groups() else ""
            # Overlaps are written as percent in names, and as shares everywhere else.
            if "overlap {}" in words:
                value = f"{int(value) / 100:g}"
            return words.format(value) + clean
    return plain.replace("_", " ") + clean
