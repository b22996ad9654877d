"""The HTTP edge: routes, their types, the OpenAPI document, and how errors look from outside."""
