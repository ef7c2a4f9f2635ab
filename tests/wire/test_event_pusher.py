#!/usr/bin/python3
"""tests/wire/test_event_pusher.py: mod_event_pusher with real web servers, also such as hang, fail
and break off, over http and https; notifications for an app server, over a reload and a restart,
and for a gateway (mod_push_service_mongoosepush).
test-timeout: 240"""
import http.server
import json
import os
import queue
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.parse

import tap
from server import HOST, TIMEOUT, TMP, Server, certificate
from xmpp import Client, q, text_of

PUSH, PUBSUB, DATA = 'urn:xmpp:push:0', 'http://jabber.org/protocol/pubsub', 'jabber:x:data'
MODULES = ('presence', 'offline', 'event_pusher')


def authority(domain):
    """A new authority of ours: the file of its certificate, and the name of domain's files."""
    root = tempfile.mkstemp(prefix='authority-', dir=TMP)[1]
    leaf = f'{root}-{domain}'
    ec = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes')
    for args in (('req', '-x509', *ec, '-days', '30', '-subj', '/CN=Ours', '-keyout', f'{root}.key',
                  '-out', root),
                 ('req', '-x509', *ec, '-days', '30', '-subj', f'/CN={domain}', '-addext',
                  f'subjectAltName=DNS:{domain}', '-addext', 'basicConstraints=critical,CA:FALSE',
                  '-CA', root, '-CAkey', f'{root}.key', '-keyout', f'{leaf}.key',
                  '-out', f'{leaf}.crt')):
        subprocess.run(['openssl', *args], check=True, capture_output=True)
    return root, leaf


class Environment:
    """What servers that are started meanwhile find in theirs."""

    def __init__(self, **variables):
        self.variables, self.before = variables, dict(os.environ)

    def __enter__(self):
        os.environ.update(self.variables)

    def __exit__(self, *unused):
        os.environ.clear()
        os.environ.update(self.before)


class Sink:
    """A web server; what it was told, as (path, fields or JSON, headers). `how`: 200, 500, 'hang'
    (reads, says nothing), 'close' (at once). `tls`: the name of a .crt and a .key."""

    def __init__(self, how=200, tls=None):
        sink = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_POST(self):
                body = self.rfile.read(int(self.headers['Content-Length'])).decode()
                if self.headers['Content-Type'] == 'application/json':
                    fields = json.loads(body)
                else:
                    fields = dict(urllib.parse.parse_qsl(body.encode('ascii').decode(),
                                                         keep_blank_values=True,
                                                         strict_parsing=True, errors='strict'))
                sink.told.put((self.path, fields, dict(self.headers)))
                if sink.how == 'close':
                    self.close_connection = True
                    return
                if sink.how == 'hang':
                    sink.released.wait()
                self.send_response(200 if sink.how == 'hang' else sink.how)
                self.send_header('Content-Length', '0')
                self.end_headers()

            def log_message(self, *unused):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *unused):
                pass                                   # the client has gone

        self.how, self.told, self.released = how, queue.Queue(), threading.Event()
        self.server = Quiet((('127.0.0.1'), 0), Handler)
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls + '.crt', tls + '.key')
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f'http{"s" if tls else ""}://localhost:{self.server.server_address[1]}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def next(self):
        return self.told.get(timeout=TIMEOUT)

    def close(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()


class Base(unittest.TestCase):
    def sink(self, *args, **options):
        sink = Sink(*args, **options)
        self.addCleanup(sink.close)
        return sink

    def serve(self, handlers=(), modules=(), environment=None, **options):
        self.server = Server(modules=MODULES)
        self.server.set('mod_event_pusher', http_handlers=', '.join(handlers), **options)
        for name, its_options in dict(modules).items():
            self.server.set(name, **its_options)
        with Environment(**(environment or {})):
            self.server.start()
        self.addCleanup(self.server.stop)
        for name in ('alice', 'bob', 'app'):
            self.server.add_user(f'{name}@{HOST}')
        return self.server

    def login(self, name, presence=True):
        c = Client(self.server).login(f'{name}@{HOST}', resource='x')
        self.addCleanup(c.abort)
        if presence:
            c.send('<presence/>')
            c.stanza('presence')
        return c

    def chat(self, c, to, text, id_='m'):
        c.send(f"<message to='{to}@{HOST}' type='chat' id='{id_}'><body>{text}</body></message>")

    def counts(self):
        return self.server.ctl_json('event_pusher', 'counts', HOST)[0]

    def until(self, **wanted):
        """What the server counts, once it is so; it says that to whoever asks only."""
        end = time.monotonic() + TIMEOUT
        while True:
            counts = self.counts()
            if all(counts[k] == v for k, v in wanted.items()):
                return counts
            self.assertLess(time.monotonic(), end, counts)

    def mapped(self, library):
        with open(f'/proc/{self.server.process.pid}/maps', encoding='ascii') as f:
            return library in f.read()


class Web(Base):
    def test_a_web_server_is_told(self):
        sink = self.sink()
        self.serve([f'{sink.url}/a?x=1 sent received'], http_authorization='Bearer abc')
        alice, bob = self.login('alice'), self.login('bob')
        self.chat(alice, 'bob', '1 + 1 = ä &amp; more', 'one')
        self.assertEqual(text_of(bob.stanza('message'), 'body'), '1 + 1 = ä & more')
        told = {}
        for _ in range(2):
            path, fields, headers = sink.next()
            self.assertEqual(path, '/a?x=1')
            self.assertEqual(headers['Authorization'], 'Bearer abc')
            self.assertEqual(headers['Content-Type'], 'application/x-www-form-urlencoded')
            told[fields['event']] = fields
        self.assertEqual(told['sent'], {
            'author': 'alice', 'server': HOST, 'receiver': 'bob', 'message': '1 + 1 = ä & more',
            'event': 'sent', 'from': f'alice@{HOST}/x', 'to': f'bob@{HOST}', 'type': 'chat',
            'id': 'one'})
        self.assertEqual({**told['received'], 'event': 'sent'}, told['sent'])
        self.until(http_sent=2)
        said = [r['line'] for r in self.server.ctl_json('metrics')]
        self.assertIn('grapnel_http_answered_total 2', said)
        self.assertIn('grapnel_http_waiting 0', said)

    def test_web_servers_that_fail_delay_nobody(self):
        good, hang, bad, close = self.sink(), self.sink('hang'), self.sink(500), self.sink('close')
        with socket.socket() as s:                     # nobody listens there
            s.bind(('127.0.0.1', 0))
            dead = f'http://127.0.0.1:{s.getsockname()[1]}'
            self.serve([s.url + '/hook' for s in (hang, bad, close)] + [dead, good.url],
                       http_pool=2, http_queue=5, http_timeout='5m')
            since = self.server.log_now()
            alice, bob = self.login('alice'), self.login('bob')
            for i in range(50):
                self.chat(alice, 'bob', f'secret {i}', f'm{i}')
                self.assertEqual(bob.stanza('message').get('id'), f'm{i}')
                self.assertEqual(good.next()[1]['id'], f'm{i}')
            c = self.until(http_sent=50, http_waiting=7)                   # 2 hang, 5 wait
            self.assertEqual(c['http_failed'] + c['http_dropped'], 4 * 50 - 7)
            self.assertGreaterEqual(c['http_dropped'], 50 - 7)
        self.server.wait_log(r'event_pusher\.http_failed: http://', since)
        self.server.wait_log(r'event_pusher\.http_dropped: http://localhost:\d+ ', since)
        self.assertFalse(self.server.has_logged('secret'))
        self.assertFalse(self.server.has_logged('/hook'))
        begun = time.monotonic()
        self.server.stop()                             # does not wait for who hangs
        self.assertLess(time.monotonic() - begun, TIMEOUT / 2)

    def test_a_web_server_recovers_over_a_reload(self):
        sink = self.sink('hang')
        self.serve([sink.url], http_pool=1, http_timeout='5m')
        alice = self.login('alice')
        for i in range(4):
            self.chat(alice, 'alice', 'x', f'm{i}')
        self.assertEqual(sink.next()[1]['id'], 'm0')
        self.server.set('mod_event_pusher', http_pool=2)
        self.assertTrue(self.server.reload())
        # the new version asks for what waited, while the old one still waits for m0
        self.assertEqual({sink.next()[1]['id'] for _ in range(2)}, {'m1', 'm2'})
        sink.released.set()
        self.assertEqual(sink.next()[1]['id'], 'm3')

    def test_certificates_are_verified(self):
        sink = self.sink(tls=certificate(HOST))
        self.serve([sink.url])
        alice = self.login('alice')
        since = self.server.log_now()
        self.chat(alice, 'alice', 'x')
        self.server.wait_log(r'http_failed: https://localhost:\d+ .*certificate', since)
        self.assertTrue(sink.told.empty())
        self.server.set('mod_event_pusher', http_ca_file=certificate(HOST) + '.crt')
        self.assertTrue(self.server.reload())
        self.chat(alice, 'alice', 'x', 'm2')
        self.assertEqual(sink.next()[1]['id'], 'm2')
        # a certificate for somebody else
        elsewhere = sink.url.replace('localhost', '127.0.0.1')
        self.server.set('mod_event_pusher', http_handlers=elsewhere)
        self.assertTrue(self.server.reload())
        since = self.server.log_now()
        self.chat(alice, 'alice', 'x', 'm3')
        self.server.wait_log(r'event_pusher\.http_failed', since)
        self.assertTrue(sink.told.empty())

    def test_another_authority_in_the_same_file(self):
        (first, leaf), (second, other_leaf) = authority(HOST), authority(HOST)
        sink, other = self.sink(tls=leaf), self.sink(tls=other_leaf)
        self.serve([sink.url, other.url], http_ca_file=first)
        alice = self.login('alice')
        self.chat(alice, 'alice', 'x', 'm1')
        self.assertEqual(sink.next()[1]['id'], 'm1')
        self.until(http_sent=1, http_failed=1)
        os.replace(second, first)
        end = time.monotonic() + TIMEOUT
        told = None
        while told is None:                            # without a reload, within a few seconds
            self.assertLess(time.monotonic(), end)
            self.chat(alice, 'alice', 'x', 'm2')
            try:
                told = other.told.get(timeout=1)[1]['id']
            except queue.Empty:
                pass
        self.assertEqual(told, 'm2')

    def test_the_environment_has_no_say(self):
        sink = self.sink()
        with socket.socket() as s:                     # nobody listens there
            s.bind(('127.0.0.1', 0))
            proxy = f'http://127.0.0.1:{s.getsockname()[1]}'
            names = ('http_proxy', 'https_proxy', 'all_proxy', 'HTTPS_PROXY', 'ALL_PROXY')
            self.serve([sink.url], environment=dict.fromkeys(names, proxy))
            alice = self.login('alice')
            self.chat(alice, 'alice', 'x', 'm1')
            self.assertEqual(sink.next()[1]['id'], 'm1')

    def test_without_the_client_the_reason_is_told(self):
        os.makedirs(f'{TMP}/broken', exist_ok=True)
        with open(f'{TMP}/broken/libcurl.so.4', 'wb'):
            pass
        environment = {'LD_LIBRARY_PATH': f'{TMP}/broken'}
        why = r'libcurl\.so\.4 cannot be loaded: install libcurl4'
        self.serve(environment=environment)             # needs none
        self.server.set('mod_event_pusher', http_handlers='http://127.0.0.1:1/')
        since = self.server.log_now()
        self.assertFalse(self.server.reload())
        self.assertTrue(self.server.has_logged(why, since))
        alice = self.login('alice')                    # goes on as it was
        self.chat(alice, 'alice', 'x', 'm1')
        self.assertEqual(alice.stanza('message').get('id'), 'm1')
        self.server.stop()
        with Environment(**environment):
            since = self.server.spawn()
            self.server.wait_log(why, since)
            self.assertNotEqual(self.server.wait_end(), 0)

    def test_who_asks_nobody_does_not_load_the_client(self):
        sink = self.sink()
        self.serve()
        self.login('alice')
        self.assertFalse(self.mapped('libcurl'))
        self.server.set('mod_event_pusher', http_handlers=sink.url)
        self.assertTrue(self.server.reload())
        self.assertTrue(self.mapped('libcurl'))


class Push(Base):
    def enable(self, c, node):
        answer = c.request(f"<iq type='set' id='{{id}}'><enable xmlns='{PUSH}' jid='app@{HOST}/x' "
                           f"node='{node}'/></iq>")
        self.assertEqual(answer.get('type'), 'result')

    def notification(self, app, error=None):
        """(node, {var: value}) of the next one, which is answered."""
        iq = app.stanza('iq', type='set')
        self.assertEqual(iq.get('from'), HOST)
        publish = iq.find(f'{q(PUBSUB, "pubsub")}/{q(PUBSUB, "publish")}')
        form = publish.find(f'{q(PUBSUB, "item")}/{q(PUSH, "notification")}/{q(DATA, "x")}')
        what = {f.get('var'): f.findtext(q(DATA, 'value')) for f in form}
        if error:
            app.send(f"<iq type='error' to='{HOST}' id='{iq.get('id')}'><error type='cancel'>"
                     f"<{error} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
        else:
            app.send(f"<iq type='result' to='{HOST}' id='{iq.get('id')}'/>")
        return publish.get('node'), what

    def devices(self):
        return [d['node'] for d in self.server.ctl_json('event_pusher', 'devices', f'bob@{HOST}')]

    def until_forgotten(self):
        """What is counted as refused is looked up behind that."""
        end = time.monotonic() + TIMEOUT
        while self.devices():
            self.assertLess(time.monotonic(), end)

    def test_a_phone_is_notified(self):
        self.serve(push_with_sender='yes', push_max_errors=1)
        alice, bob, app = self.login('alice'), self.login('bob'), self.login('app', False)
        self.enable(bob, 'n1')
        bob.close()
        self.chat(alice, 'bob', 'hello')
        node, what = self.notification(app)
        self.assertEqual(node, 'n1')
        self.assertEqual(what, {'FORM_TYPE': 'urn:xmpp:push:summary', 'message-count': '1',
                                'last-message-sender': f'alice@{HOST}',
                                'last-message-body': 'New message'})
        self.until(push_sent=1)
        self.server.restart()
        alice, app = self.login('alice'), self.login('app', False)
        self.chat(alice, 'bob', 'are you there?')
        self.assertEqual(self.notification(app)[1]['message-count'], '2')
        bob = self.login('bob')                        # gets them, counting starts again
        self.assertEqual([text_of(bob.stanza('message'), 'body') for _ in range(2)],
                         ['hello', 'are you there?'])
        bob.close()
        self.chat(alice, 'bob', 'once more')
        self.assertEqual(self.notification(app, 'item-not-found')[1]['message-count'], '1')
        self.until(push_refused=1)
        self.until_forgotten()
        self.server.ctl_ok('user', 'delete', f'bob@{HOST}')

    def test_a_gateway_is_asked(self):
        root, leaf = authority(HOST)
        sink = self.sink(tls=leaf)
        self.serve(modules={'mod_push_service_mongoosepush': {'url': sink.url, 'ca_file': root,
                                                              'authorization': 'Basic word'}},
                   push_with_body='yes', push_virtual_hosts='push.example')
        alice, bob = self.login('alice'), self.login('bob')
        fields = {'FORM_TYPE': f'{PUBSUB}#publish-options', 'service': 'fcm',
                  'device_id': 'TOKEN-1:x_y'}
        form = ''.join(f"<field var='{k}'><value>{v}</value></field>" for k, v in fields.items())
        answer = bob.request(f"<iq type='set' id='{{id}}'><enable xmlns='{PUSH}' node='n1' "
                             f"jid='push.example'><x xmlns='{DATA}' type='submit'>{form}</x>"
                             "</enable></iq>")
        self.assertEqual(answer.get('type'), 'result')
        bob.close()
        text = '"quoted" \\ back, \t tab, \u00e4 \U0001f600'
        self.chat(alice, 'bob', text)
        path, told, headers = sink.next()
        self.assertEqual(path, '/v3/notification/TOKEN-1:x_y')
        self.assertEqual(headers['Authorization'], 'Basic word')
        self.assertEqual(told, {'service': 'fcm', 'mode': 'prod',
                                'alert': {'badge': 1, 'body': text}})
        self.until(push_sent=1)
        sink.how = 503
        self.chat(alice, 'bob', 'two')
        self.assertEqual(sink.next()[1]['alert']['badge'], 2)
        self.until(push_unanswered=1)
        self.assertEqual(self.devices(), ['n1'])
        sink.how = 410
        self.chat(alice, 'bob', 'three')
        sink.next()
        self.until(push_refused=1)
        self.until_forgotten()
        for secret in ('TOKEN', 'word', 'quoted'):
            self.assertFalse(self.server.has_logged(secret), secret)

    def test_devices_go_with_the_account(self):
        self.serve()
        bob = self.login('bob')
        self.enable(bob, 'n1')
        self.enable(bob, 'n2')
        self.assertEqual(sorted(self.devices()), ['n1', 'n2'])
        self.server.ctl_ok('user', 'delete', f'bob@{HOST}')
        self.assertEqual(self.devices(), [])


if __name__ == '__main__':
    tap.main()
