"""Recipes, resumable runs, results and the report."""
