"""SQLite and LanceDB opened safely: one database file, one writer, migrations, locks."""
