"""tests/wire/test_sm_clients.py: slixmpp and aioxmpp, unchanged, resume their sessions over kill -9 and
restarts of the server (XEP-0198): nothing lost, nothing twice, and no presence comes or goes.
test-timeout: 240"""
import asyncio
import logging
import os
import ssl
import unittest

import aioxmpp
import aioxmpp.connector
import aioxmpp.dispatcher
import slixmpp

import tap
from server import HOST, TIMEOUT, Server, certificate

logging.basicConfig(level=logging.DEBUG if os.environ.get('WIRE_DEBUG') else logging.CRITICAL)

MODULES = ('roster', 'presence', 'offline', 'disco', 'ping', 'sessiondb', 'stream_management', 'csi')


class Slixmpp(slixmpp.ClientXMPP):
    KINDS = ('session_start', 'sm_enabled', 'session_resumed', 'sm_failed', 'message', 'presence',
             'stanza_acked', 'disconnected')

    def __init__(self, jid):
        super().__init__(jid, 'secret')
        self.queues = {kind: asyncio.Queue() for kind in self.KINDS}
        for kind in self.KINDS:
            self.add_event_handler(kind, self.queues[kind].put_nowait)
        self.ssl_context = ssl.create_default_context(cafile=certificate(HOST) + '.crt')
        self.ssl_context.check_hostname = False
        self.get_ssl_context = lambda: self.ssl_context
        self.register_plugin('xep_0198')

    async def of(self, kind):
        return await asyncio.wait_for(self.queues[kind].get(), TIMEOUT)


class Aioxmpp:
    def __init__(self, server, jid):
        self.client = aioxmpp.Client(
            aioxmpp.JID.fromstr(jid), aioxmpp.make_security_layer('secret', no_verify=True),
            override_peer=[('127.0.0.1', server.port, aioxmpp.connector.STARTTLSConnector())],
            max_initial_attempts=1)
        self.messages = asyncio.Queue()
        dispatcher = self.client.summon(aioxmpp.dispatcher.SimpleMessageDispatcher)
        dispatcher.register_callback(None, None, self.messages.put_nowait)
        self.events = asyncio.Queue()
        for name in ('established', 'resumed', 'destroyed'):
            getattr(self.client, f'on_stream_{name}').connect(self.noting(name))

    def noting(self, name):
        def f(*_):
            self.events.put_nowait(name)
        return f

    async def event(self):
        return await asyncio.wait_for(self.events.get(), 2 * TIMEOUT)

    async def body(self):
        return (await asyncio.wait_for(self.messages.get(), TIMEOUT)).body.any()


def with_loop(f):
    def case(self):
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(asyncio.wait_for(f(self), 4 * TIMEOUT))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
    case.__name__ = f.__name__
    return case


class Clients(unittest.TestCase):
    def setUp(self):
        self.server = Server(modules=MODULES)
        self.server.start()
        self.addCleanup(self.server.stop)
        self.server.set('listen c2s', port=self.server.port)    # they come back to the same
        for user in ('slix', 'aio'):
            self.server.add_user(f'{user}@{HOST}', 'secret')

    def kill(self):
        self.server.kill()
        self.server.start()

    def restart(self):
        self.server.stop()
        self.server.start()

    async def conversation(self, again, events):
        s = Slixmpp(f'slix@{HOST}/s')
        a = Aioxmpp(self.server, f'aio@{HOST}/a')
        s.connect(('127.0.0.1', self.server.port))
        await s.of('session_start')
        await s.of('sm_enabled')
        s.send_presence()
        await s.of('presence')
        a.client.start()
        self.assertEqual(await a.event(), 'established')
        self.assertTrue(a.client.stream.sm_resumable)
        s.send_message(f'aio@{HOST}/a', 'before')
        self.assertEqual(await a.body(), 'before')
        s['xep_0198'].request_ack()                             # it forgets what is not acknowledged
        await s.of('stanza_acked')
        again()
        await s.of('disconnected')
        s.connect(('127.0.0.1', self.server.port))
        await s.of('session_resumed')
        for event in events:
            self.assertEqual(await a.event(), event)
        s.send_message(f'aio@{HOST}/a', 'after')
        self.assertEqual(await a.body(), 'after')
        m = aioxmpp.Message(to=aioxmpp.JID.fromstr(f'slix@{HOST}'), type_=aioxmpp.MessageType.CHAT)
        m.body[None] = 'back'
        await asyncio.wait_for(a.client.send(m), TIMEOUT)
        self.assertEqual((await s.of('message'))['body'], 'back')
        self.assertTrue(s.queues['presence'].empty() and s.queues['sm_failed'].empty())
        self.assertTrue(a.messages.empty() and a.events.empty())
        s.disconnect(wait=1)
        a.client.stop()
        await s.of('disconnected')

    @with_loop
    async def test_kill(self):
        await self.conversation(self.kill, ['resumed'])

    @with_loop
    async def test_restart(self):
        """aioxmpp gives its session up when it hears of any stream error, also system-shutdown."""
        await self.conversation(self.restart, ['destroyed', 'established', 'resumed'])


if __name__ == '__main__':
    tap.main()
