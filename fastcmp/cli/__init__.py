"""The command line: arguments to the API to an exit code. The only importer of rich and cyclopts."""
