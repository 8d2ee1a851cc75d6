"""Finds the transforms that load an item's files among the transforms of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtmedformer_monai.transforms.errors import AnnotationError, RadiographError

from .findings import ANNOTATION, UNREADABLE, Finding

if TYPE_CHECKING:
    from mtmedformer_monai.transforms.load_targets import EncodesTarget


@dataclass(frozen=True)
class Loaders:
    """The transforms that read the image and the masks and encode the targets.

    Attributes:
        transforms: transforms, applied in order.
        tasks: tasks whose targets are encoded.
        encodes_targets: whether the transforms include a `LoadTargetsd`; those of inference do not.
    """

    transforms: tuple[Any, ...]
    tasks: tuple[EncodesTarget, ...] = ()
    encodes_targets: bool = False

    def try_to_load(self, item: Mapping[str, Any]) -> list[Finding]:
        """Loads an item, and returns problems as findings instead of raising exceptions."""
        loaded: Any = dict(item)
        try:
            for transform in self.transforms:
                loaded = transform(loaded)
        except (RadiographError, OSError) as error:
            return [Finding(UNREADABLE, f"it cannot be read: {error}")]
        except AnnotationError as error:
            return [Finding(ANNOTATION, str(error))]
        except Exception as error:  # a check also reports unexpected errors
            return [Finding(UNREADABLE, f"it cannot be read ({type(error).__name__}: {error}); remove it.")]
        return []


def find_loaders(transforms: Sequence[Any] | None) -> Loaders:
    """Returns the `LoadRadiographd` and `LoadTargetsd` among the transforms; for None, those with default settings."""
    from mtmedformer_monai.keys import IMAGE
    from mtmedformer_monai.transforms import LoadRadiographd, LoadTargetsd

    if transforms is None:
        return Loaders((LoadRadiographd(IMAGE), LoadTargetsd([])), (), True)
    chosen = tuple(each for each in transforms if isinstance(each, (LoadRadiographd, LoadTargetsd)))
    tasks = tuple(task for each in chosen if isinstance(each, LoadTargetsd) for task in each.tasks)
    return Loaders(chosen, tasks, any(isinstance(each, LoadTargetsd) for each in chosen))
