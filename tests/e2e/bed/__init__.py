"""The parts that the end-to-end tests are made of: processes, gateway, providers, MCP servers, streams."""
