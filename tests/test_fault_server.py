"""The judge itself: the fault server counts and breaks what it says."""

import http.client
import json
import socket
import threading
import time

import pytest

from rt_framework.testing.attacks import ATTACKS, redirect
from rt_framework.testing.batch_attacks import LINE_ATTACKS, changed
from rt_framework.testing.batch_desk import LOST, BatchDesk
from rt_framework.testing.server import FAULTS, PATH, Fault, FaultServer, scattered
from rt_framework.testing.wire import completion

BODY = {"model": "m", "messages": [{"role": "user", "content": "What is 1 + 1?"}], "max_tokens": 10}


def echo(body):
    return "You said: " + body["messages"][-1]["content"]


def connect(server):
    return http.client.HTTPConnection("127.0.0.1", int(server.url.split(":")[2].split("/")[0]), timeout=10)


def post(connection, body=BODY, path=PATH):
    connection.request("POST", path, json.dumps(body), {"Authorization": "Bearer sk-canary"})
    response = connection.getresponse()
    return response.status, response.headers, response.read()


def test_answers_are_a_function_of_the_request_and_counted():
    """Two requests on one connection are answered, recorded and billed."""
    with FaultServer(echo) as server:
        connection = connect(server)
        answers = [json.loads(post(connection)[2]) for _ in range(2)]
        connection.close()
    assert answers[0] == answers[1]
    assert answers[0]["choices"][0]["message"]["content"] == "You said: What is 1 + 1?"
    assert answers[0]["usage"] == {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}
    assert [request.body for request in server.received] == [BODY, BODY]
    assert server.billed == 2


BROKEN = {"hang": TimeoutError, "reset": ConnectionResetError, "truncated": http.client.IncompleteRead}
BILLED = {"truncated", "bad_json", "empty", "null", "no_choices", "length", "content_filter"}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_seen_by_a_client(name):
    """Every fault differs from the good answer, and only faults with an answer are billed."""
    with FaultServer(echo, lambda number, body: Fault(name) if number else None) as server:
        connection = connect(server)
        good = post(connection)
        connection.sock.settimeout(0.2 if name == "hang" else 10)
        if name in BROKEN:
            with pytest.raises(BROKEN[name]):
                post(connection)
        else:
            assert post(connection)[2] != good[2]
        connection.close()
    assert [request.fault for request in server.received] == [None, name]
    assert server.billed == (2 if name in BILLED else 1)


def test_refusals_carry_retry_after_and_the_key():
    """A refusal names its pause, and a 401 repeats the key as some providers do."""
    script = [Fault("rate_limit", retry_after="3"), Fault("auth")]
    with FaultServer(echo, lambda number, body: script[number]) as server:
        connection = connect(server)
        limited, refused = post(connection), post(connection)
        connection.close()
    assert (limited[0], limited[1]["Retry-After"]) == (429, "3")
    assert refused[0] == 401
    assert b"sk-canary" in refused[2]


def test_other_paths_are_not_requests():
    """Only chat completions are served and counted."""
    with FaultServer(echo) as server:
        connection = connect(server)
        assert post(connection, path="/v1/embeddings")[0] == 404
        connection.close()
    assert server.received == []


def test_scattered_faults_depend_on_the_request_not_on_the_order():
    """A seed gives each request the same faults in any order, at about the share asked for."""
    bodies = [{"n": number} for number in range(500)]
    first, second, third = (scattered(seed, 0.2, ["reset", "empty"]) for seed in (1, 1, 2))
    forward = [first(0, body) for body in bodies]
    backward = [second(0, body) for body in reversed(bodies)][::-1]
    assert forward == backward
    assert forward != [third(0, body) for body in bodies]
    assert 70 <= sum(fault is not None for fault in forward) <= 130
    again = [first(0, body) for body in bodies]
    assert any(once and not twice for once, twice in zip(forward, again, strict=True))


def test_unknown_fault_is_refused():
    """A misspelt fault is an error, not a good answer."""
    with pytest.raises(ValueError, match="unknown fault 'rest'"):
        Fault("rest")


def test_leaving_ends_every_thread_and_connection():
    """Hanging requests and idle connections do not outlive the server."""
    before = threading.active_count()
    with FaultServer(echo, lambda number, body: Fault("hang") if number else None) as server:
        idle, hanging = connect(server), connect(server)
        post(idle)
        hanging.request("POST", PATH, json.dumps(BODY))
        while len(server.received) < 2:
            time.sleep(0.01)
        start = time.monotonic()
    assert time.monotonic() - start < 2
    assert threading.active_count() == before
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", idle.port), timeout=1):
        pass
    idle.close()
    hanging.close()


def get(connection, path):
    connection.request("GET", path)
    response = connection.getresponse()
    return json.loads(response.read())


def submit(connection, count=4):
    lines = [json.dumps({"custom_id": str(number), "body": BODY | {"n": number}}) for number in range(count)]
    form = '--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + "\n".join(lines) + "\r\n--x--"
    connection.request("POST", "/v1/files", form.encode())
    file = json.loads(connection.getresponse().read())["id"]
    asked = {"input_file_id": file, "endpoint": PATH, "metadata": {"token": "t"}}
    return json.loads(post(connection, asked, "/v1/batches")[2])["id"]


@pytest.mark.parametrize(("ending", "billed"), [("completed", 3), ("expired", 2), ("cancelled", 2), ("failed", 0)])
def test_a_batch_ends_as_it_should(ending, billed):
    """Pending, then ended: every line has one result, among the answers or the failures, and answers are billed."""
    with FaultServer(
        echo, lambda _, body: Fault("policy") if body["n"] == 1 else None, BatchDesk(endings=lambda _: ending)
    ) as server:
        connection = connect(server)
        name = submit(connection)
        assert get(connection, f"/v1/batches/{name}")["status"] == "in_progress"
        batch = get(connection, f"/v1/batches/{name}")
        assert (batch["status"], batch["metadata"]) == (ending, {"token": "t"})
        lines = {}
        for file in ("output_file_id", "error_file_id"):
            if file in batch:
                connection.request("GET", f"/v1/files/{batch[file]}/content")
                for text in connection.getresponse().read().splitlines():
                    line = json.loads(text)
                    lines[line["custom_id"]] = (
                        line["response"]["status_code"] if line["response"] else line["error"]["code"]
                    )
        connection.close()
    late = f"batch_{ending}"
    whole = {"0": 200, "1": 400, "2": 200, "3": 200}
    expected = {"completed": whole, "failed": {}}.get(ending, whole | {"1": late, "3": late})
    assert lines == expected
    assert server.billed == billed


def test_what_is_lost_is_done():
    """The client sees a broken connection, and the batch is there."""
    desk = BatchDesk(trouble=lambda endpoint, number: LOST if endpoint == "create" else None)
    with FaultServer(echo, desk=desk) as server:
        connection = connect(server)
        with pytest.raises(ConnectionResetError):
            submit(connection)
        connection.close()
        connection = connect(server)
        assert [batch["metadata"] for batch in get(connection, "/v1/batches?limit=9")["data"]] == [{"token": "t"}]
        connection.close()
    assert server.billed == 4


def test_an_attack_goes_over_the_wire_as_it_is():
    """Status, headers and body are the attack's; an answer that was made is billed, a redirect is not."""
    script = [ATTACKS["body: HTML"], redirect(307, "http://127.0.0.1:1/x"), ATTACKS["status: 202"]]
    with FaultServer(echo, lambda number, body: script[number]) as server:
        connection = connect(server)
        page, moved, made = post(connection), post(connection), post(connection)
        connection.close()
    assert (page[0], page[2][:15]) == (200, b"<!doctype html>")
    assert (moved[0], moved[1]["Location"]) == (307, "http://127.0.0.1:1/x")
    assert (made[0], json.loads(made[2])["usage"]["total_tokens"]) == (202, 10)
    assert ([request.billed for request in server.received], server.requests) == ([True, False, True], 3)


def test_every_attack_can_be_sent():
    """Each is something that a socket takes, and none has the name of a fault."""
    honest = completion(BODY, "hello")
    for attack in ATTACKS.values():
        answer = attack.answer(honest)
        assert b"".join([answer.head(), *answer.pieces()]).startswith(b"HTTP/1.")
    assert not set(ATTACKS) & set(FAULTS)


def test_a_desk_poisons_lines_and_lies():
    """The line that was asked has another result, the others their own; what an endpoint tells is changed."""
    poison = LINE_ATTACKS["custom_id: a list"].line
    desk = BatchDesk(
        polls=0,
        poison=lambda asked, line: poison(json.loads(line)) if asked["custom_id"] == "2" else line,
        lie=lambda at, number, truth: changed(status="odd")(truth) if (at, number) == ("retrieve", 0) else truth,
    )
    with FaultServer(echo, desk=desk) as server:
        connection = connect(server)
        name = submit(connection)
        assert [get(connection, f"/v1/batches/{name}")["status"] for _ in range(2)] == ["odd", "completed"]
        file = get(connection, f"/v1/batches/{name}")["output_file_id"]
        connection.request("GET", f"/v1/files/{file}/content")
        lines = [json.loads(line)["custom_id"] for line in connection.getresponse().read().splitlines()]
        connection.close()
    assert lines == ["3", ["a"], "1", "0"]
    assert server.billed == 4
