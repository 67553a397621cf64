"""The part of the runtime that must be Python: the handler, its context, its errors, its log."""
