"""Files: written atomically (atomic), answers kept (disk_cache), models checked (model_folder)."""
