"""The history of the store's tables, oldest first; a migration that was released is never edited."""
