"""What the reports of recognition are about, and the numbers of retrieval."""

from dataclasses import replace

from marrow.tasks.numbers import About, Quantity

# What the way is called in which the linear probe learns from clips that are augmented anew.
AUGMENTED = "augmented"
_OF_LINEAR_PROBE = {"linear_probe": "", "linear_probe_augmented": AUGMENTED, "logistic": "logistic regression"}
_OF_FEW_SHOT = {
    "few_shot_logistic": "Logistic regression on frozen features",
    "few_shot_nearest_mean": "Nearest class mean of frozen features",
}
_OF_SEMI_SUPERVISED = {
    "semi_supervised": "Fine-tuned",
    "semi_supervised_linear": "Logistic regression on frozen features",
}
MEAN_AVERAGE_PRECISION = Quantity("mean average precision", "%", "higher", heading="mAP")


def recall_at(rank: int) -> Quantity:
    """Say what recall at a rank is."""
    return Quantity(f"recall at {rank}", "%", "higher", heading=f"recall@{rank}")


def about_of(task: str) -> About:
    """Say what a report is about, by the name of its task and variant."""
    about = About.of_recognition(task)
    kind, _, variant = task.partition("/")
    if kind == "knn":
        return replace(about, title="Nearest neighbour", beside="knn/raw", by_class=False)
    if kind == "retrieval":
        # The recall at 1 is the accuracy of the nearest neighbour: mAP is what stands for retrieval alone.
        return replace(about, headline=("map_percent",), beside="")
    if kind in _OF_LINEAR_PROBE:
        return replace(about, kind="linear_probe", way=_OF_LINEAR_PROBE[kind])
    if kind == "finetune":
        # Heads on raw coordinates learn from all labels, not from a share.
        return about if not variant else replace(about, beside="")
    if kind in _OF_FEW_SHOT:
        title = "Learning from a few clips of each class"
        return About("few_shot", title, plot="labels", way=_OF_FEW_SHOT[kind], variant=variant, label=about.label)
    if kind in _OF_SEMI_SUPERVISED:
        title = "Learning from a share of the labels"
        way = _OF_SEMI_SUPERVISED[kind]
        return About("semi_supervised", title, plot="labels", way=way, variant=variant, label=about.label)
    return about
