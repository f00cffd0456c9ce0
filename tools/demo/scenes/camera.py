"""Put layers over each other and turn the drawing into a photograph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.demo.scenes.instances import Layer


def blend(image: np.ndarray, layer: Layer) -> None:
    """Draw a layer over the image (H, W, 3) in place."""
    window = image[layer.rows, layer.columns]
    window += layer.alpha[..., None] * (layer.color - window)


@dataclass(frozen=True)
class Camera:
    """What happens to the whole image: the directions of uneven light, a blur weight and the noise level."""

    light_x: float
    light_y: float
    blur: float
    noise: float

    @staticmethod
    def random(rng: np.random.Generator) -> Camera:
        light_x, light_y, blur, noise = rng.uniform((-0.12, -0.12, 0.0, 0.004), (0.12, 0.12, 0.18, 0.025))
        return Camera(float(light_x), float(light_y), float(blur), float(noise))

    def take(self, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        """Turn the drawing (H, W, 3) float32 into a photograph (H, W, 3) uint8."""
        height, width = image.shape[:2]
        if self.blur > 0:
            image[1:-1] += self.blur * (image[:-2] + image[2:] - 2 * image[1:-1])
            image[:, 1:-1] += self.blur * (image[:, :-2] + image[:, 2:] - 2 * image[:, 1:-1])
        x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
        y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        image *= (1 + self.light_x * x + self.light_y * y)[..., None]
        grain = rng.standard_normal((height, width), dtype=np.float32)
        image += self.noise * grain[..., None]
        return (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
