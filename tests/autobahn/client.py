"""Runs the translated suite against one server: client.py SPEC.json. Prints one line a case:

    <case> <verdict> <verdict of the close> <close code> <milliseconds> [what was wrong]

The suite keeps bytes in strings. `text` and `octets` translate at each border between it and the WebSocket library.
"""

import binascii
import json
import os
import sys

sys.path.insert(0, os.environ["AUTOBAHN_PACKAGE"])


def text(value):
    return bytes(value).decode("latin-1") if isinstance(value, (bytes, bytearray, memoryview)) else value


def octets(value):
    return value.encode("latin-1") if isinstance(value, str) else bytes(value) if isinstance(value, bytearray) else value


def plain(value):
    """The same with every string of bytes as text, so that what is compared is of one type."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return text(value)


_hexlify = binascii.b2a_hex
binascii.b2a_hex = binascii.hexlify = lambda data, *rest: _hexlify(octets(data), *rest).decode()

import autobahn.websocket.utf8validator as validator  # noqa: E402

_validate = validator.Utf8Validator.validate
validator.Utf8Validator.validate = lambda self, data: _validate(self, octets(data))

# Only now: some cases are made with the validator while they are imported.
import autobahn.websocket.protocol as library  # noqa: E402
import autobahntestsuite.case.case as case  # noqa: E402
import autobahntestsuite.fuzzing as suite  # noqa: E402

case.Case.compare = lambda self, left, right: plain(left) == plain(right)


def sends_octets(name):
    """Lets a method of the library that sends take text as well."""
    send = getattr(library.WebSocketProtocol, name)

    def method(self, *args, **named):
        args = (octets(args[0]),) + args[1:] if args else args
        for key in ("payload", "mask", "data", "reasonUtf8"):
            if key in named:
                named[key] = octets(named[key])
        return send(self, *args, **named)

    setattr(library.WebSocketProtocol, name, method)


for name in ("sendData", "sendPing", "sendPong", "sendMessage", "sendMessageFrame", "sendMessageFrameData"):
    sends_octets(name)

_send_frame = library.WebSocketProtocol.sendFrame
_send_close = library.WebSocketProtocol.sendCloseFrame


def send_frame(self, opcode, payload=b"", fin=True, rsv=0, mask=None, payload_len=None, chopsize=None, sync=False):
    return _send_frame(
        self, opcode=opcode, payload=octets(payload), fin=fin, rsv=rsv, mask=octets(mask), payload_len=payload_len,
        chopsize=chopsize, sync=sync,
    )


library.WebSocketProtocol.sendFrame = send_frame
library.WebSocketProtocol.sendCloseFrame = lambda self, code=None, reasonUtf8=None, isReply=False: _send_close(
    self, code=code, reasonUtf8=octets(reasonUtf8), isReply=isReply
)

# The wire logs and HTML reports are the suite's slowest and least translated part, and nobody reads them here. Frames
# are counted all the same: some cases judge by the counts.
protocol = suite.FuzzingProtocol
protocol.logRxOctets = protocol.logTxOctets = lambda *_: None


def counts(statistics):
    def method(self, frame, *_):
        if self.createStats:
            seen = getattr(self, statistics)
            seen[frame.opcode] = seen.get(frame.opcode, 0) + 1

    return method


protocol.logRxFrame = counts("rxFrameStats")
protocol.logTxFrame = counts("txFrameStats")
suite.binLogData = lambda data, maxlen=64: ""
suite.asciiLogData = lambda data, maxlen=64, replace=False: text(data)[:maxlen]
for report in ("createMasterReportHTML", "createAgentCaseReportHTML", "createAgentCaseReportJSON"):
    setattr(suite.FuzzingFactory, report, lambda *_, **__: None)

protocol.onMessage = lambda self, message, binary: self.runCase.onMessage(text(message), binary)
protocol.onPong = lambda self, payload: self.runCase.onPong(text(payload))
protocol.onPing = lambda self, payload: self.runCase.onPing(text(payload))
if "onPing" in suite.FuzzingClientProtocol.__dict__:
    del suite.FuzzingClientProtocol.onPing

_log_case = suite.FuzzingFactory.logCase


def log_case(self, result):
    wrong = result["result"] if result["behavior"] == "FAILED" else ""
    verdicts = (result["behavior"], result["behaviorClose"], result["remoteCloseCode"], result["duration"])
    print(result["id"], *verdicts, wrong, flush=True)
    _log_case(self, result)


suite.FuzzingFactory.logCase = log_case

with open(sys.argv[1], encoding="utf-8") as spec:
    suite.startClient(json.load(spec))
suite.reactor.run()
