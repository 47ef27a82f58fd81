# syntax=docker/dockerfile:1
# A server with one framework. What is served, and every limit, is said by DISTILBERT_SERVE_* variables or by options:
#
#   docker build --build-arg FRAMEWORK=pt -t distilbert .
#   docker run -p 8080:8080 -v "$PWD/model:/models/mine:ro" distilbert serve /models/mine
#
# PyTorch's usual package for Linux brings the libraries of a GPU along. For the small one name the index that has it:
# --build-arg PIP_EXTRA_INDEX_URL=...

FROM python:3.11-slim AS build
ARG FRAMEWORK=pt
ARG PIP_EXTRA_INDEX_URL
WORKDIR /source
RUN python -m venv /venv
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY distilbert distilbert
RUN /venv/bin/pip install --no-cache-dir --constraint constraints.txt ".[serve,${FRAMEWORK}]"

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 server
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DISTILBERT_SERVE_HOST=0.0.0.0 \
    DISTILBERT_SERVE_PORT=8080
USER server
WORKDIR /home/server
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "-c", \
  "import os, urllib.request as r; e = os.environ; r.urlopen('http://127.0.0.1:' + e.get('AIP_HTTP_PORT', e['DISTILBERT_SERVE_PORT']) + '/health', timeout=2)"]
ENTRYPOINT ["distilbert"]
CMD ["serve"]
