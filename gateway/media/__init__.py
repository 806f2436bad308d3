"""Files that people and agents send: kept beside the database, named by us, offered by links."""
