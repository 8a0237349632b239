import subprocess
import sys
from pathlib import Path

LOAD = "from clser_bench.features.spectrum import load_torchaudio; module = load_torchaudio(); "


def run(code: str, path: Path | None = None) -> str:
    insert = f"import sys; sys.path.insert(0, {str(path)!r}); " if path else ""
    command = [sys.executable, "-W", "error", "-c", insert + code]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def fake(folder: Path, loader: str) -> Path:
    (folder / "torchaudio" / "_extension").mkdir(parents=True)
    (folder / "torchaudio" / "__init__.py").write_text(
        "from . import _extension\nfrom ._extension import fail_if_no_align\nmark = 7\n"
    )
    (folder / "torchaudio" / "_extension" / "__init__.py").write_text(loader)
    return folder


def test_a_good_torchaudio_is_left_as_it_is(tmp_path: Path):
    folder = fake(tmp_path, "fail_if_no_align = None\nown = True\n")
    assert run(LOAD + "print(module._extension.own, module.mark)", folder) == "True 7"


def test_a_torchaudio_whose_compiled_part_fails_is_imported_without(tmp_path: Path):
    folder = fake(tmp_path, "raise OSError('libc10_cuda.so: cannot open shared object file')\n")
    code = LOAD + "print(module.mark, sys.modules['torchaudio._extension']._IS_ALIGN_AVAILABLE)"
    assert run(code, folder) == "7 False"


def test_a_torchaudio_that_fails_otherwise_is_told(tmp_path: Path):
    folder = fake(tmp_path, "")
    (folder / "torchaudio" / "__init__.py").write_text("raise RuntimeError('other CUDA')\n")
    code = (
        "from clser_bench.errors import FeatureError\n"
        "from clser_bench.features.spectrum import load_torchaudio\n"
        "try: load_torchaudio()\n"
        "except FeatureError as error: print(error)"
    )
    command = f"import sys; sys.path.insert(0, {str(folder)!r})\n" + code
    message = run(command)
    assert "other CUDA" in message
    assert "belongs to the installed torch" in message
