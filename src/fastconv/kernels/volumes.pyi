DIVIDE: dict[str, int]
