"""The passes over the image side of a batch of prompts, compiled (``kernels/``), each thread with prompts of its own.

torch starts one operation after another, each over all prompts and with a barrier at its end. Here a thread takes a few
prompts through a whole pass in its own caches, and meets the others only when all are done.

Maps lie in panels of 32 image tokens: (..., R, L) as (..., L / 32, R, 32). A basis has room for the rows of every layer
from the start, ``(N, L / 32, layers * H * T, 32)``.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from no_time_to_train.models.native_code import load_native

PANEL = 32
_WHOLE_VECTORS = 16
_PROMPTS_AT_ONCE = 4  # more would no longer fit a core's second cache beside the image's panel
_POINTER, _INT, _LONG, _FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float


def can_be_compiled(length: int, head_channels: int, channels: int) -> bool:
    """Return whether a network's sizes suit: image tokens, channels of a head, channels of an image token."""
    return length % PANEL == 0 and head_channels <= PANEL and channels % 64 == 0


def panels(maps: Tensor) -> Tensor:
    """Rearrange (..., R, L) to (..., L / 32, R, 32)."""
    return maps.unflatten(-1, (-1, PANEL)).movedim(-2, -3).contiguous()


def token_panels(values: Tensor) -> Tensor:
    """Rearrange (B, H, d, L) to (B, L / 32, H, 32, d up to whole vectors)."""
    padded = F.pad(values.transpose(2, 3), (0, -values.shape[2] % _WHOLE_VECTORS))
    return padded.unflatten(2, (-1, PANEL)).transpose(1, 2).contiguous()


class CompiledPasses:
    """The three passes. All tensors are float32 on the CPU.

    Raises:
        EnvironmentProblemError: there is no C++ compiler, or it fails.
    """

    def __init__(self) -> None:
        library = load_native(Path(__file__).parent / "kernels" / "decoder.cpp")
        self._read, self._update, self._upscale = library.read_image, library.update_image, library.upscale
        self._read.argtypes = [*[_INT] * 6, *[_POINTER] * 6, _LONG, _LONG, *[_POINTER] * 3]
        self._update.argtypes = [*[_INT] * 6, *[_POINTER] * 8, _FLOAT, _POINTER, _LONG, _LONG, *[_POINTER] * 2]
        self._upscale.argtypes = [*[_INT] * 7, _POINTER, _LONG, _LONG, *[_POINTER] * 7, _FLOAT, *[_POINTER] * 3]
        for function in (self._read, self._update, self._upscale):
            function.restype = None

    def read(
        self,
        tokens: Tensor,
        mixing: Tensor,
        keys: Tensor,
        position: Tensor,
        values: Tensor,
        basis: Tensor,
        scale: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Let the tokens read from the image.

        Args:
            tokens: (N, H, T, d) projected, times 1 / sqrt(d).
            mixing: (N, H * T, R) their scores against the ``R`` rows of the basis so far.
            keys, position: (L / 32, H * d, 32) projected base, position code and constants.
            values: ``token_panels`` of the base's values.
            basis, scale: of ``FactoredTokens``; R and the scale may be 0 and None.

        Returns:
            (N, H, T, d) values of the base, and (N, H * T, R) weights of the rows.
        """
        tokens, mixing = tokens.contiguous(), mixing.contiguous()
        read, by_row = torch.empty_like(tokens), torch.empty_like(mixing)
        _, heads, count, depth = tokens.shape
        shared = keys, position, values

        def run(start: int, prompts: int) -> None:
            sizes = prompts, heads, count, depth, mixing.shape[2], basis.shape[1]
            own = (_at(each, start) for each in (tokens, mixing))
            self._read(
                *sizes,
                *own,
                *(each.data_ptr() for each in shared),
                *_place(basis, start),
                _at(scale, start),
                _at(read, start),
                _at(by_row, start),
            )

        _in_threads(len(tokens), run)
        return read, by_row

    def update(
        self,
        tokens: Tensor,
        mixing: Tensor,
        queries: Tensor,
        position: Tensor,
        values: Tensor,
        cross: Tensor,
        gram: Tensor,
        power: Tensor,
        eps: float,
        basis: Tensor,
        scale: Tensor | None,
    ) -> Tensor:
        """Let the image attend to the tokens: new rows of ``basis``, in place, and the scale after the layer norm.

        Args:
            tokens: (N, H, T, d) projected, times 1 / sqrt(d).
            mixing: (N, H * T, R) their scores against the ``R`` rows of the basis so far.
            queries, position: (L / 32, H * d, 32) projected base, position code and constants.
            values: (N, R / T + H, T, d) token values of every layer's heads.
            cross: (L / 32, (R / T + H) * d, 32) base projected on the output weights.
            gram: (N, R + H * T, R + H * T) products of the vectors.
            power: (N, L) mean square of all but the rows.
            eps: of the norm.
            basis, scale: of ``FactoredTokens``; R and the scale may be 0 and None.
        """
        tokens, mixing, values, gram, power = (each.contiguous() for each in (tokens, mixing, values, gram, power))
        new_scale = torch.empty_like(power)
        _, heads, count, depth = tokens.shape
        shared = queries, position

        def run(start: int, prompts: int) -> None:
            sizes = prompts, heads, count, depth, mixing.shape[2], basis.shape[1]
            self._update(
                *sizes,
                _at(tokens, start),
                _at(mixing, start),
                *(each.data_ptr() for each in shared),
                _at(values, start),
                cross.data_ptr(),
                _at(gram, start),
                _at(power, start),
                eps,
                *_place(basis, start),
                _at(scale, start),
                _at(new_scale, start),
            )

        _in_threads(len(tokens), run)
        return new_scale

    def upscale(
        self,
        first: Tensor,
        basis: Tensor,
        scale: Tensor,
        base: Tensor,
        stride_8: Tensor,
        stride_4: Tensor,
        norm: tuple[Tensor, Tensor, float],
        second: Tensor,
        hyper_vectors: Tensor,
        width: int,
    ) -> Tensor:
        """Compute mask logits, (N, M, 4h, 4w).

        Args:
            first: (N, 4 * C/4, R) first convolution of the vectors.
            basis, scale: of ``FactoredTokens``.
            base, stride_8: (L / 32, 4 * C/4, 32) first convolution of the base; what is added to it.
            stride_4: (L / 32, 16 * C/8, 32) what is added to the second.
            norm: weight, bias and eps of the layer norm.
            second: (4 * C/8, C/4) second convolution.
            hyper_vectors: (N, M, C/8).
            width: image tokens in a row of the image.
        """
        first, hyper_vectors = first.contiguous(), hyper_vectors.contiguous()
        packed = second.unflatten(0, (-1, 8)).transpose(1, 2).contiguous()
        weight, bias, eps = norm
        (prompts, masks, narrow), length = hyper_vectors.shape, basis.shape[1] * PANEL
        logits = first.new_empty(prompts, masks, 4 * length // width, 4 * width)
        shared = base, stride_8, stride_4, weight, bias

        def run(start: int, prompts: int) -> None:
            sizes = prompts, first.shape[2], basis.shape[1], width, second.shape[1], narrow, masks
            self._upscale(
                *sizes,
                *_place(basis, start),
                _at(scale, start),
                _at(first, start),
                *(each.data_ptr() for each in shared),
                eps,
                packed.data_ptr(),
                _at(hyper_vectors, start),
                _at(logits, start),
            )

        _in_threads(prompts, run)
        return logits


def _at(prompts: Tensor | None, start: int) -> int | None:
    """Address of a prompt's part."""
    return None if prompts is None else prompts.data_ptr() + start * prompts.stride(0) * prompts.element_size()


def _place(basis: Tensor, start: int) -> tuple[int | None, int, int]:
    """Address of a prompt's basis, and how far apart prompts and panels are."""
    return _at(basis, start), basis.stride(0), basis.stride(1)


def _in_threads(count: int, run: Callable[[int, int], None]) -> None:
    """Run over all prompts, some at once. Who takes which changes no result.

    ``run`` holds the tensors whose addresses it hands over: at Ctrl-C threads go on for a moment after their caller.
    """
    jobs = [(start, min(_PROMPTS_AT_ONCE, count - start)) for start in range(0, count, _PROMPTS_AT_ONCE)]
    threads = min(torch.get_num_threads(), len(jobs))
    if threads <= 1:
        for job in jobs:
            run(*job)
    else:
        list(_workers(threads).map(lambda job: run(*job), jobs))


@functools.cache
def _workers(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="decoder")


if hasattr(os, "register_at_fork"):  # threads are not forked: a child would wait for ever for its parent's
    os.register_at_fork(after_in_child=_workers.cache_clear)
