# SPDX-License-Identifier: Apache-2.0
"""The bodies of requests. Values that are inputs or options of a pipeline are checked by the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag


class ErrorBody(BaseModel):
    """The answer where something is wrong."""

    error: str = Field(
        description="What was wrong, what was expected.", examples=["input 0: text: has 600 tokens, ..."]
    )
    error_type: str = Field(description="The same for programs.", examples=["validation"])


class Body(BaseModel):
    """A body; names that it does not know are refused."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Which of the server's models; by default the first that can.")


class TaskBody(Body):
    """Of a task, as Hugging Face's inference API has it."""

    inputs: Any = Field(description="One input as the task's pipeline takes it, or a list of them.")
    parameters: dict[str, Any] | None = Field(None, description="Options of the pipeline's call.")


class InstancesBody(Body):
    """Of Vertex AI."""

    instances: list[Any] = Field(description='Inputs as the task\'s pipeline takes them, or {"inputs": such a one}.')
    parameters: dict[str, Any] | None = Field(None, description="Options of the pipeline's call.")


class EmbeddingsBody(Body):
    """Of OpenAI's embeddings."""

    input: str | list[Any] = Field(description="A text, or a list of texts.", examples=["smart, warm and funny."])
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1, description="The first so many numbers, scaled to length 1.")
    user: str | None = Field(None, description="Is accepted, and has no effect.")


class EmbedBody(Body):
    """Of text-embeddings-inference's /embed."""

    inputs: str | list[str] = Field(examples=["smart, warm and funny."])
    normalize: bool = Field(True, description="Give vectors the length 1.")
    truncate: bool = Field(False, description="Cut texts that are too long; else they are refused.")
    prompt_name: str | None = Field(None, description="Which of the checkpoint's prompts to put before the texts.")
    dimensions: int | None = Field(None, ge=1, description="The first so many numbers, before they are normalised.")


class EmbedAllBody(Body):
    """Of text-embeddings-inference's /embed_all."""

    inputs: str | list[str] = Field(examples=["smart, warm and funny."])
    truncate: bool = Field(False, description="Cut texts that are too long; else they are refused.")


class PredictBody(Body):
    """Of text-embeddings-inference's /predict."""

    inputs: str | list[str | list[str]] = Field(
        description="A text, a pair of texts, or a list of lists of one or two texts.",
        examples=["smart, warm and funny."],
    )
    raw_scores: bool = Field(False, description="Give logits.")
    truncate: bool = Field(False, description="Cut texts that are too long; else they are refused.")


def _platform(body: Any) -> str:
    """Whose body it is, by the field that only Vertex AI's has."""
    is_vertex = isinstance(body, InstancesBody) or (isinstance(body, Mapping) and "instances" in body)
    return InstancesBody.__name__ if is_vertex else PredictBody.__name__


# Of a route that is both Vertex AI's and text-embeddings-inference's.
EitherBody = Annotated[
    Annotated[PredictBody, Tag(PredictBody.__name__)] | Annotated[InstancesBody, Tag(InstancesBody.__name__)],
    Discriminator(_platform),
]


class RerankBody(Body):
    """Of text-embeddings-inference's /rerank."""

    query: str = Field(examples=["a film to laugh at"])
    texts: list[str] = Field(examples=[["smart, warm and funny.", "two hours of boredom."]])
    raw_scores: bool = Field(False, description="Give logits; of vectors, the score is the cosine either way.")
    return_text: bool = Field(False, description="Repeat the texts in the answer.")
    truncate: bool = Field(False, description="Cut texts that are too long; else they are refused.")


class SimilarityInputs(BaseModel):
    """One text, and those it is compared with."""

    model_config = ConfigDict(extra="forbid")

    source_sentence: str = Field(examples=["a film to laugh at"])
    sentences: list[str] = Field(examples=[["smart, warm and funny.", "two hours of boredom."]])


class SimilarityParameters(BaseModel):
    """How they are embedded."""

    model_config = ConfigDict(extra="forbid")

    truncate: bool = False
    prompt_name: str | None = None


class SimilarityBody(Body):
    """Of text-embeddings-inference's /similarity."""

    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None


class TokenizeBody(Body):
    """Of text-embeddings-inference's /tokenize."""

    inputs: str | list[str] = Field(examples=["smart, warm and funny."])
    add_special_tokens: bool = True


class DecodeBody(Body):
    """Of text-embeddings-inference's /decode."""

    ids: list[int | list[int]] = Field(examples=[[101, 2204, 102]])
    skip_special_tokens: bool = True
