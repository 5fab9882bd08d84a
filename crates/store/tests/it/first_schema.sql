-- A log as the first schema kept it.
PRAGMA user_version = 1;
INSERT INTO requests (workspace_id, id, created_at_ms, trace_id, request_id, endpoint, method,
    status_code, outcome, stream, total_ms, turns, tool_calls, tool_errors, attempts,
    cache_status, client, metadata, payload_level, notes, response_body)
VALUES ('ws-default', 'log-1', 7, 't', 'req_1', '/v1/responses', 'POST', 200, 'completed', 1, 9,
    1, 1, 0, 2, 'DISABLED', '{}', '{"a":"b"}', 'full', '["n"]', '{}');
INSERT INTO attempts (workspace_id, log_id, "index", turn, provider, started_offset_ms, outcome,
    status_code)
VALUES ('ws-default', 'log-1', 0, 0, 'openai', 1, 'failed', 429),
    ('ws-default', 'log-1', 1, 0, 'openai', 2, 'completed', 200);
INSERT INTO turns (workspace_id, log_id, "index", started_offset_ms, provider, total_ms, finish,
    tool_calls, input_tokens)
VALUES ('ws-default', 'log-1', 0, 1, 'openai', 8, 'tool_calls', 1, 5);
INSERT INTO tool_lists (workspace_id, log_id, "index", server_label, server_url,
    started_offset_ms, cached, run_by, tools, outcome, warnings)
VALUES ('ws-default', 'log-1', 0, 'files', 'https://a.example/', 1, 1, 'gateway', 2, 'completed',
    '["w"]');
INSERT INTO tool_calls (workspace_id, log_id, "index", turn, server_label, server_url, tool,
    run_by, started_offset_ms, argument_bytes, outcome, arguments)
VALUES ('ws-default', 'log-1', 0, 0, 'files', 'https://a.example/', 'read', 'gateway', 3, 2,
    'completed', '{"quote":"\""}');
