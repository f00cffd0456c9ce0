"""Read and write images, videos and annotations, in the formats others use."""
