"""The picture of a training's curves."""

from matplotlib.figure import Figure

from mtmedformer_monai.engines.handlers.curves import _finish


class History:
    """Of a training without a best epoch."""

    def best(self):
        return None


def test_a_training_of_one_epoch_has_no_fractional_epochs_on_its_axis():
    axes = Figure().subplots()
    axes.plot([1], [0.5])
    _finish(axes, "", History())
    left, right = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if left <= tick <= right] == [1]
