# No Time To Train in a container, with CUDA, or smaller without:
#   docker build -t nttt .
#   docker build -t nttt:cpu --build-arg TORCH_INDEX=INDEX .    (INDEX: the one that PyTorch's page gives for CPU)
#   docker run --rm -v "$PWD:/work" nttt demo
#   docker run --rm --gpus all -v "$PWD:/work" -v nttt-weights:/weights nttt label images/ --refs refs.json
#
# Without a network, from a folder wheels/ that was filled before (`pip wheel -w wheels ".[bench,faiss,video]"`):
#   docker build -t nttt --network none --build-arg COMPILER= .
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# For the mask decoder on a CPU, which is compiled on the first run of every container (a few seconds; kept with
# -v nttt-compiled:/root/.cache/nttt). Left empty: a smaller image, in which a CPU decodes masks at half the speed.
ARG COMPILER=g++
RUN if [ -n "${COMPILER}" ]; then \
        apt-get update && apt-get install -y --no-install-recommends "${COMPILER}" && rm -rf /var/lib/apt/lists/*; \
    fi

ARG TORCH_INDEX=
ARG EXTRAS=bench,faiss,video
ARG WHEELS=wheels

WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
# The pattern finds nothing where there is no such folder; the license is there for COPY to have something.
COPY LICENSE ${WHEELS}* /wheels/
COPY no_time_to_train ./no_time_to_train
COPY data/demo ./data/demo
# The wheels alone where there are any. Else torch and torchvision first and from one place: they must fit each other.
RUN if ls /wheels/*.whl > /dev/null 2>&1; then \
        pip install --no-cache-dir --no-index --find-links /wheels "no-time-to-train[${EXTRAS}]"; \
    else \
        pip install --no-cache-dir torch torchvision ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} \
        && pip install --no-cache-dir ".[${EXTRAS}]"; \
    fi \
    && rm -rf /src /wheels

# GPUs are handed in by the NVIDIA container runtime; the CUDA libraries come with torch.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    NTTT_WEIGHTS=/weights HF_HOME=/weights/huggingface OMP_WAIT_POLICY=PASSIVE
VOLUME /weights
WORKDIR /work
ENTRYPOINT ["nttt"]
CMD ["--help"]
