"""All recipes, told apart by their ``type``; the same in preparation and in prediction."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from mmbal.data.media.recipe import Recipe
from mmbal.data.media.recipe_audio import AudioRecipe
from mmbal.data.media.recipe_feature import FeatureRecipe
from mmbal.data.media.recipe_pictures import FlowRecipe, FramesRecipe, ImageRecipe
from mmbal.data.media.recipe_text import TextRecipe

AnyRecipe = Annotated[
    AudioRecipe | FramesRecipe | FlowRecipe | ImageRecipe | TextRecipe | FeatureRecipe, Field(discriminator="type")
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyRecipe)


def recipe_from(values: dict[str, Any]) -> Recipe:
    """The recipe that a store's ``preprocessing["recipe"]`` describes."""
    recipe: Recipe = _ADAPTER.validate_python(values)
    return recipe
