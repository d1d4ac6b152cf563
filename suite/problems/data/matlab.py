"""Variables of a MATLAB file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def read_variable(path: Path, name: str) -> NDArray[Any]:
    """One array of a MATLAB file, of any version before 7.3.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is not a MATLAB file, is damaged, or lacks the variable.

    """
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=[name])
    except OSError:
        raise
    except Exception as error:  # SciPy raises errors of many kinds on a damaged file
        raise ValueError(f"not a MATLAB file, or damaged: {error}") from None
    if name not in content:
        raise ValueError(f"it has no variable {name!r}")
    array: NDArray[Any] = content[name]
    return array
