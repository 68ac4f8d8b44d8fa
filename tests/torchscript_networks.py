"""Networks as TorchScript archives, written by PyTorch itself."""

from __future__ import annotations

import warnings
import zipfile

import pytest


def build_network(torch, *, padding=1, output_padding=0, normed=True, around=None, change=None, vector=None):
    """A generator of the original's names with the rates 3 and 2, and weights from a seed, in float32.

    The first kernel minus its rate is odd: of a padding of 1 come 3 rows for each and one more, as of the original; of
    a padding of 2 with an output padding of 1, as in ParallelWaveGAN, 3 for each. With `vector` it takes a vector of 3
    numbers, with which that is done before `cond`.
    """
    nn, functional = torch.nn, torch.nn.functional
    norm = nn.utils.weight_norm if normed else lambda layer: layer

    class Block(nn.Module):
        def __init__(self, channels, kernel, dilations):
            super().__init__()
            self.convs1 = nn.ModuleList(
                [norm(nn.Conv1d(channels, channels, kernel, 1, (kernel - 1) * d // 2, d)) for d in dilations]
            )
            self.convs2 = nn.ModuleList(
                [norm(nn.Conv1d(channels, channels, kernel, 1, (kernel - 1) // 2)) for _ in dilations]
            )

        def forward(self, x):
            for first, second in zip(self.convs1, self.convs2):  # noqa: B905 - TorchScript knows no strict
                x = second(functional.leaky_relu(first(functional.leaky_relu(x, 0.1)), 0.1)) + x
            return x

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv_pre = norm(nn.Conv1d(10, 8, 7, 1, 3))
            self.ups = nn.ModuleList(
                [
                    norm(nn.ConvTranspose1d(8, 4, 6, 3, padding, output_padding)),
                    norm(nn.ConvTranspose1d(4, 2, 4, 2, 1)),
                ]
            )
            self.resblocks = nn.ModuleList(
                [Block(channels, kernel, (1, 2)) for channels in (4, 2) for kernel in (3, 5)]
            )
            self.conv_post = norm(nn.Conv1d(2, 1, 7, 1, 3))

        def forward(self, x):
            return self.after(self.conv_pre(x))

        def after(self, x):
            for i, up in enumerate(self.ups):
                x = up(functional.leaky_relu(x, 0.1))
                total = torch.zeros_like(x)
                for j, block in enumerate(self.resblocks):
                    if j // 2 == i:
                        total = total + block(x)
                x = total / 2
            x = functional.leaky_relu(x)
            return torch.tanh(self.conv_post(x))

    class Conditioned(Network):
        def __init__(self):
            super().__init__()
            self.cond = nn.Conv1d(3, 8, 1)

        def forward(self, x, g):
            return self.after(self.conv_pre(x) + self.cond(vector(g)))

    torch.manual_seed(0)
    network = Network() if vector is None else Conditioned()
    if change is not None:
        change(network)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.mul_(0.1 if "bias" in name else 1.5)
    if around is None:
        return network.eval()

    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.generator = network

        def forward(self, mel):
            return around(self.generator, mel)

    return Around().eval()


def build_of_modules(torch, end):
    """The same network in the form of ParallelWaveGAN: each activation is a module, and `end` the last."""
    nn = torch.nn

    def activated(layer, *after, slope=0.1):
        return nn.Sequential(nn.LeakyReLU(slope), layer, *after)

    class Block(nn.Module):
        def __init__(self, channels, kernel):
            super().__init__()
            middle = (kernel - 1) // 2
            self.convs1 = nn.ModuleList(
                [activated(nn.Conv1d(channels, channels, kernel, 1, middle * d, d)) for d in (1, 2)]
            )
            self.convs2 = nn.ModuleList([activated(nn.Conv1d(channels, channels, kernel, 1, middle)) for _ in "12"])

        def forward(self, x):
            for first, second in zip(self.convs1, self.convs2):  # noqa: B905 - TorchScript knows no strict
                x = second(first(x)) + x
            return x

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.input_conv = nn.Conv1d(10, 8, 7, 1, 3)
            self.upsamples = nn.ModuleList(
                [activated(nn.ConvTranspose1d(8, 4, 6, 3, 2, 1)), activated(nn.ConvTranspose1d(4, 2, 4, 2, 1))]
            )
            self.blocks = nn.ModuleList([Block(channels, kernel) for channels in (4, 2) for kernel in (3, 5)])
            self.output_conv = activated(nn.Conv1d(2, 1, 7, 1, 3), end, slope=0.01)

        def forward(self, c):
            c = self.input_conv(c)
            for i, upsample in enumerate(self.upsamples):
                c = upsample(c)
                total = torch.zeros_like(c)
                for j, block in enumerate(self.blocks):
                    if j // 2 == i:
                        total = total + block(c)
                c = total / 2
            return self.output_conv(c)

    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Saves a network, traced or scripted, and gives its path with the function that PyTorch loads from it."""
    torch = pytest.importorskip("torch")

    def save(network, how="trace"):
        path = tmp_path_factory.mktemp("saved") / "x.ts"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = (
                torch.jit.trace(network, torch.zeros(1, 10, 9), check_trace=False)
                if how == "trace"
                else torch.jit.script(network)
            )
            made.save(str(path))

        def run(mel):
            program = torch.jit.load(str(path)).double()
            with torch.no_grad(), torch.jit.optimized_execution(should_optimize=False):
                return program(torch.from_numpy(mel[None]).double())[0, 0].numpy()

        return path, run

    return save


def rewritten(path, folder, change):
    """A copy of an archive with other code."""
    changed, is_other = folder / "changed.ts", False
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(changed, "w") as target:
        for name in archive.namelist():
            data = archive.read(name)
            if name.endswith(".py"):
                is_other |= change(data.decode()) != data.decode()
                data = change(data.decode()).encode()
            target.writestr(name, data)
    assert is_other
    return changed
