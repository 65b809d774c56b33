"""The packages: versions, whether torch and its companions can be imported, and what torch sees of the machine."""

import os
import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, distributions, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import marrow
from marrow.doctor import Finding, Unanswered, ask, finding_of
from marrow.doctor.machine import usable_cores

# Companions of torch that marrow does not need, but that others import as soon as they find them.
_COMPANIONS = ("torchvision", "torchaudio")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "ONEDNN_MAX_CPU_ISA")
_TORCH = """
import json, torch
from marrow.train.device import choose_precision
cuda = torch.cuda.is_available()
kind = "cuda" if cuda else "cpu"
print(json.dumps({
    "version": torch.__version__,
    "cuda_build": torch.version.cuda,
    "capability": torch.backends.cpu.get_cpu_capability(),
    "threads": torch.get_num_threads(),
    "gpus": [
        {"name": torch.cuda.get_device_name(gpu), "bytes": torch.cuda.get_device_properties(gpu).total_memory,
         "bf16": choose_precision("auto", "cuda").bf16}
        for gpu in range(torch.cuda.device_count())
    ] if cuda else [],
    "mps": torch.backends.mps.is_available(),
    "device": kind,
    "precision": choose_precision("auto", kind).reason,
}))
"""


def examine_packages() -> list[Finding]:
    """Look at the versions that are installed, and import what is known to break."""
    findings = [_python(), *_requirements(), *_extras()]
    try:
        facts = ask(_TORCH)
    except Unanswered as error:
        mend = "pip install --force-reinstall torch, with the index of your CPU or CUDA version (pytorch.org)"
        findings.append(Finding("FAIL", "torch", f"cannot be used: {error}", mend))
    else:
        findings += _torch(facts)
    return findings + [finding for name in _COMPANIONS for finding in _companion(name)]


def _python() -> Finding:
    text = f"{platform.python_version()} ({sys.executable}), marrow {marrow.__version__}, {platform.platform()}"
    return Finding("PASS", "python", text)


def _declared() -> list[Any]:
    """Return the requirements of the installed marrow; none where it runs from its source without being installed."""
    from packaging.requirements import Requirement

    try:
        return [Requirement(text) for text in requires("marrow") or []]
    except PackageNotFoundError:
        return []


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _requirements() -> list[Finding]:
    """Compare what marrow needs with what is there."""
    needed = [
        requirement
        for requirement in _declared()
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]
    if not needed:
        text = "marrow is not installed, so that nothing says which versions it needs"
        return [Finding("WARN", "packages", text, "pip install -e . in its checkout")]
    wrong, shown = [], []
    for requirement in needed:
        installed = _installed(requirement.name)
        if installed is None or not requirement.specifier.contains(installed, prereleases=True):
            text = f"{requirement.name} {installed or 'is missing'}, needed: {requirement.specifier or 'any'}"
            wrong.append(Finding("FAIL", "packages", text, f'pip install "{requirement.name}{requirement.specifier}"'))
        else:
            shown.append(f"{requirement.name} {installed}")
    findings = wrong or [Finding("PASS", "packages", ", ".join(shown))]
    for name in ("lightning", "pytorch-lightning"):
        if _installed(name) in ("2.6.2", "2.6.3"):
            text = f"{name} {_installed(name)}: this release was tampered with"
            findings.append(
                Finding("FAIL", "packages", text, f'pip install "{name}>=2.6.6", and change your passwords')
            )
    doubled = sorted({name for name in _names() if _names().count(name) > 1})
    if doubled:
        text = f"installed more than once: {', '.join(doubled)}"
        findings.append(Finding("WARN", "packages", text, f"pip uninstall {doubled[0]} until it is gone, then install"))
    return findings


def _names() -> list[str]:
    """Return the names of the packages behind torch, one for each copy that Python can see."""
    copies = {(package.metadata["Name"] or "", str(package.locate_file(""))) for package in distributions()}
    return [name for name, _ in copies if name in ("torch", "numpy", "lightning-fabric")]


def _extras() -> list[Finding]:
    """Say which optional packages are here."""
    optional: dict[str, list[str]] = {}
    for requirement in _declared():
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", str(requirement.marker or ""))
        if extra and extra[1] != "dev":
            installed = _installed(requirement.name)
            optional.setdefault(extra[1], []).append(
                f"{requirement.name} {installed}" if installed else f"{requirement.name} not installed"
            )
    return [Finding("PASS", f"extra {name}", ", ".join(packages)) for name, packages in optional.items()]


def _torch(facts: dict[str, Any]) -> list[Finding]:
    build = f"CUDA {facts['cuda_build']} build" if facts["cuda_build"] else "CPU build"
    findings = [Finding("PASS", "torch", f"{facts['version']}, {build}, uses {facts['capability']} on the processor")]
    gpus = [
        f"{gpu['name']}, {gpu['bytes'] / 2**30:.0f} GiB, {'bf16' if gpu['bf16'] else 'no bf16'}"
        for gpu in facts["gpus"]
    ]
    if gpus:
        findings.append(Finding("PASS", "devices", "; ".join(gpus)))
    elif facts["mps"]:
        findings.append(Finding("PASS", "devices", "an Apple GPU (--device mps)"))
    elif _has_nvidia_device():
        why = "this torch is a CPU build" if not facts["cuda_build"] else "torch cannot use it (driver?)"
        mend = "install torch with CUDA (pytorch.org), or compare `nvidia-smi` with the CUDA version of torch"
        findings.append(Finding("WARN", "devices", f"an NVIDIA GPU is here, but {why}", mend))
    else:
        findings.append(Finding("PASS", "devices", "no GPU: the processor computes"))
    findings.append(Finding("PASS", "precision auto", f"on {facts['device']}: {facts['precision']}"))

    settings = ", ".join(f"{name}={os.environ[name]}" for name in _THREAD_VARIABLES if name in os.environ)
    text = f"torch uses {facts['threads']} of {usable_cores()} cores" + (f" ({settings})" if settings else "")
    mend = f"set --threads {usable_cores()}: more threads slow down"
    return [*findings, finding_of("threads", text, facts["threads"] > usable_cores(), mend)]


def _has_nvidia_device() -> bool:
    return Path("/proc/driver/nvidia/gpus").is_dir() or Path("/dev/nvidia0").exists()


def _companion(name: str) -> list[Finding]:
    """Look at a companion of torch: absent is fine, one that fits is fine, one that does not is in the way."""
    from packaging.requirements import Requirement

    if find_spec(name) is None:
        return []
    remove = f"pip uninstall {name} (marrow does not need it), or install the one for torch {_installed('torch')}"
    why = "packages that look for it (torchmetrics, timm, transformers, lightly) fail with it"
    try:
        ask(f"import json, torch, {name}; print(json.dumps({name}.__file__))")
    except Unanswered as error:
        return [Finding("WARN", name, f"{_installed(name) or ''} cannot be imported: {error}; {why}".strip(), remove)]
    try:
        wanted = [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError:
        text = f"can be imported, but was not installed by pip; {why}, should it be odd"
        return [Finding("WARN", name, text, remove)]
    here = _installed("torch") or "0"
    for requirement in wanted:
        if requirement.name == "torch" and not requirement.specifier.contains(here.partition("+")[0], prereleases=True):
            text = f"{version(name)} was made for torch{requirement.specifier}, here is {here}; {why}"
            return [Finding("WARN", name, text, remove)]
    return [Finding("PASS", name, f"{version(name)} fits torch (marrow does not need it)")]
