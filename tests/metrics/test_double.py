"""Double precision of the metrics, where a device has none."""

import torch

from torchprim import checks


class Applelike:
    """What `checks.double` asks of a tensor on Apple's GPU, which there is none of here."""

    def __init__(self, value):
        self.device, self.value, self.asked = torch.device("mps"), value, []

    def cpu(self):
        self.asked.append("cpu")
        return self.value

    def double(self):
        raise TypeError("MPS has no float64")


def test_float64_is_computed_on_the_cpu_where_the_device_has_none():
    value = torch.tensor([0.5])
    there = Applelike(value)
    assert checks.double(there).dtype == torch.float64 and there.asked == ["cpu"]
    assert checks.double(value).dtype == torch.float64
    double = value.double()
    assert checks.double(double) is double  # no copy
