"""The sections of a recipe, a module for each group; `engine.recipe.schema` puts them together."""
