"""tests/wire/test_reload.py: a module of somebody else, built out of tree with the installed headers and
pkg-config alone, comes, changes, fails and goes while two clients talk: nothing is lost, repeated
or reordered, and no session notices.  test-timeout: 400"""
import os
import shutil
import signal
import subprocess
import threading
import time
import unittest

import tap
from server import BUILD, HOST, SLOW, SRC, TIMEOUT, TMP, Server
from xmpp import CLIENT, Client, Ended, q, show

NS = 'urn:example:counter'
MODULE = r'''
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <grapnel/module.h>

static inline void crash(void)
{
    *(volatile int *)0 = 0;
}

struct conf { int64_t step; };
struct counter { uint64_t count; };

static const struct gr_opt options[] = {
    GR_OPT_INT(struct conf, step, 1, 1, 1000, "what a message counts"),
    GR_OPT_END
};

static enum gr_verdict on_message(struct gr_mod *self, struct gr_stanza_ev *ev)
{
    const struct conf *conf = gr_conf(self);
    struct counter *c = gr_state(self);

    (void)ev;
    c->count += (uint64_t)conf->step;
    return GR_OK;
}

static const struct gr_hook hooks[] = {
    GR_ON(user_send_message, GR_PRIO_NORMAL, on_message),
    GR_HOOK_END
};

static void on_query(struct gr_mod *self, struct gr_iq_ev *ev)
{
    struct counter *c = gr_state(self);
    struct gr_stanza *result = gr_iq_result(ev->stanza);
    struct gr_el *el = gr_el_add(result, NULL, "urn:example:counter", "query");
    char text[32];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)c->count);
    gr_el_set(result, el, "count", text);
    snprintf(text, sizeof(text), "%d", VERSION);
    gr_el_set(result, el, "version", text);
    gr_iq_reply(ev->req, result);
}

static const struct gr_iq iqs[] = {
    GR_IQ(GR_IQ_GET, GR_TO_HOST, "urn:example:counter", "query", on_query),
    GR_IQ_END
};

#ifdef BAD_START
static int start(struct gr_mod *self, const char **why)
{
    (void)self;
    *why = "the moon is in the wrong phase";
    return GR_EIO;
}
#endif
#ifdef BAD_SYMBOL
void no_such_function_anywhere(void);
static void stop(struct gr_mod *self)
{
    (void)self;
    no_such_function_anywhere();
}
#endif

#ifdef CRASH_CONSTRUCTOR
__attribute__((constructor)) static void at_load(void)
{
    crash();
}
#endif
#ifdef CRASH_CHECK
static int check(const void *values, const char **why)
{
    (void)why;
    if (((const struct conf *)values)->step == 1)
        abort();
    return 0;
}
#endif
#ifdef CRASH_START
static int start(struct gr_mod *self, const char **why)
{
    (void)self, (void)why;
    crash();
    return 0;
}
#endif
#ifdef WAIT_IN_START
static int start(struct gr_mod *self, const char **why)
{
    char c;
    int fd = open("gate", O_RDONLY);

    (void)self, (void)why;
    if (fd < 0)
        return 0;
    if (read(fd, &c, 1) < 0) /* whoever has opened it for us writes nothing */
        perror("gate");
    close(fd);
    return 0;
}
#endif

static void save(struct gr_mod *self, struct gr_bag *bag)
{
    gr_bag_put_u64(bag, "count", ((struct counter *)gr_state(self))->count);
}

static void restore(struct gr_mod *self, const struct gr_bag *bag)
{
    ((struct counter *)gr_state(self))->count = gr_bag_u64(bag, "count", 0);
#ifdef CRASH_RESTORE
    abort();
#endif
}

GR_MODULE(counter, .summary = "counts messages", .conf_size = sizeof(struct conf),
          .state_size = sizeof(struct counter), .options = options, .hooks = hooks, .iqs = iqs,
#if defined(BAD_START) || defined(CRASH_START) || defined(WAIT_IN_START)
          .start = start,
#endif
#ifdef CRASH_CHECK
          .check = check,
#endif
#ifdef BAD_SYMBOL
          .stop = stop,
#endif
          .save = save, .restore = restore);
'''
NEEDY = '''
#include <grapnel/module.h>
GR_MODULE(needy, .summary = "needs the counter", .needs = (const char *const[]){ "counter", NULL });
'''
NEEDIER = NEEDY.replace('"counter"', '"needy"').replace('(needy', '(needier')


class Talk:
    """Two clients that send each other numbered messages until they are told to stop."""

    AHEAD = 100

    def __init__(self, one, two):
        self.clients = (one, two)
        self.sent, self.got = [0, 0], [0, 0]
        self.errors = []
        self.going = True
        self.changed = threading.Condition()
        self.threads = [threading.Thread(target=f, args=(i,), daemon=True)
                        for i in (0, 1) for f in (self.send, self.receive)]

    def start(self):
        for t in self.threads:
            t.start()
        return self

    def send(self, i):
        to = self.clients[1 - i].jid
        try:
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: self.sent[i] - self.got[1 - i] < self.AHEAD
                                          or not self.going or self.errors, TIMEOUT)
                    if not self.going or self.errors:
                        return
                    n = self.sent[i]
                    self.sent[i] += 1
                    self.changed.notify_all()
                self.clients[i].send(f"<message to='{to}' id='{n}' type='chat'>"
                                     f'<body>{n}</body></message>')
        except Exception as e:
            self.fail(f'sending: {e!r}')

    def receive(self, i):
        try:
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: self.got[i] < self.sent[1 - i] or not self.going)
                    if self.got[i] == self.sent[1 - i]:
                        return
                el = self.clients[i].element()
                if el.tag != q(CLIENT, 'message') or el.get('id') != str(self.got[i]):
                    raise AssertionError(f'message {self.got[i]} was expected: {show(el)}')
                with self.changed:
                    self.got[i] += 1
                    self.changed.notify_all()
        except (Exception, Ended) as e:
            self.fail(f'receiving: {e!r}')

    def fail(self, why):
        with self.changed:
            self.errors.append(why)
            self.changed.notify_all()

    def more(self, n=200):
        """Until n more messages have arrived on each side."""
        with self.changed:
            goal = [g + n for g in self.got]
            done = self.changed.wait_for(
                lambda: self.errors or all(g >= w for g, w in zip(self.got, goal)), TIMEOUT)
        assert not self.errors, self.errors
        assert done, f'the talk has stopped at {self.got} of {self.sent}'

    def stop(self):
        with self.changed:
            self.going = False
            self.changed.notify_all()
        for t in self.threads:
            t.join(TIMEOUT)
            assert not t.is_alive(), f'{self.sent} sent, {self.got} received, {self.errors}'
        assert not self.errors, self.errors
        assert self.got == self.sent[::-1], (self.sent, self.got)


def run(*argv, **options):
    p = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=6 * TIMEOUT,
                       **options)
    assert p.returncode == 0, f'{" ".join(argv)}:\n{p.stderr}{p.stdout}'
    return p.stdout


CRASHES = ('constructor', 'check', 'start', 'restore')


class Reload(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        for tool in ('ASAN', 'TSAN'):                  # no reports of crashes that are meant to be
            os.environ[f'{tool}_OPTIONS'] = os.environ.get(f'{tool}_OPTIONS', '') + ':handle_segv=0'
        cls.prefix = f'{TMP}/installed'
        run('make', '-s', '-C', SRC, f'BUILD={BUILD}', f'PREFIX={cls.prefix}', 'install-files')
        environment = {**os.environ, 'PKG_CONFIG_PATH': f'{cls.prefix}/lib/pkgconfig'}
        cls.flags = [run('pkg-config', what, 'grapnel', env=environment).split()
                     for what in ('--cflags', '--libs')]
        cls.source = f'{TMP}/mod_counter.c'
        with open(cls.source, 'w', encoding='ascii') as f:
            f.write(MODULE)
        cls.built = {
            'v1': cls.build('v1', '-DVERSION=1'), 'v2': cls.build('v2', '-DVERSION=2'),
            'start': cls.build('start', '-DVERSION=3', '-DBAD_START'),
            'symbol': cls.build('symbol', '-DVERSION=3', '-DBAD_SYMBOL'),
            'tag': cls.build('tag', '-DVERSION=3', headers=cls.other_headers()),
            'wait': cls.build('wait', '-DVERSION=4', '-DWAIT_IN_START'),
            **{f'crash-{where}': cls.build(f'crash-{where}', '-DVERSION=3', f'-DCRASH_{where.upper()}') for where in CRASHES},
        }
        for name, text in (('needy', NEEDY), ('needier', NEEDIER)):
            with open(f'{TMP}/mod_{name}.c', 'w', encoding='ascii') as f:
                f.write(text)
            cls.built[name] = cls.build(name, source=f'{TMP}/mod_{name}.c')
        with open(cls.built['v2'], 'rb') as f:
            whole = f.read()
        for name, data in (('truncated', whole[:len(whole) // 2]), ('empty', b''),
                           ('text', b'#!/bin/sh\necho no module\n'),
                           ('header', whole[:64]), ('zeros', whole[:100] + bytes(len(whole)))):
            cls.built[name] = f'{TMP}/mod_counter-{name}.so'
            with open(cls.built[name], 'wb') as f:
                f.write(data)

    @classmethod
    def other_headers(cls):
        """As if the server had been another one."""
        folder = f'{TMP}/other/include'
        shutil.copytree(f'{cls.prefix}/include', folder)
        with open(f'{folder}/grapnel/abi.h', encoding='ascii') as f:
            text = f.read()
        tag = text.split('GR_ABI_TAG "')[1].split('"')[0]
        with open(f'{folder}/grapnel/abi.h', 'w', encoding='ascii') as f:
            f.write(text.replace(tag, '0123456789abcdef'))
        return folder

    @classmethod
    def build(cls, name, *defines, headers=None, source=None):
        out = f'{TMP}/mod_counter-{name}.so'
        cflags = [f'-I{headers}' if headers and x.startswith('-I') else x for x in cls.flags[0]]
        run('cc', '-Wall', '-Wextra', *cflags, *defines, '-o', out, source or cls.source,
            *cls.flags[1])
        return out

    def setUp(self):
        self.modules = f'{TMP}/modules-{self._testMethodName}'
        os.mkdir(self.modules)
        self.server = Server(module_path=self.modules).start()
        self.addCleanup(self.server.stop)
        for name in ('juliet', 'romeo', 'nurse'):
            self.server.add_user(f'{name}@{HOST}')
        self.juliet, self.romeo, self.nurse = (self.login(n) for n in ('juliet', 'romeo', 'nurse'))
        self.talk = Talk(self.juliet, self.romeo)

    def login(self, name):
        c = Client(self.server).login(f'{name}@{HOST}', resource='r')
        self.addCleanup(c.abort)
        return c

    def install(self, name, module='counter'):
        """The file as a whole appears under its name."""
        path = f'{self.modules}/mod_{module}.so'
        shutil.copy(self.built[name], path + '.new')
        os.chmod(path + '.new', 0o644)
        os.replace(path + '.new', path)

    def enable(self, text='[mod_counter]\n'):
        self.server.conf_d('mod_counter.ini', text)

    def query(self, c):
        """(count, version) on the loop of that client; None when there is no module."""
        answer = c.request(f"<iq type='get' id='{{id}}' to='{HOST}'><query xmlns='{NS}'/></iq>")
        if answer.get('type') == 'error':
            return None
        el = answer.find(q(NS, 'query'))
        return int(el.get('count')), int(el.get('version'))

    def reload(self):
        return self.server.ctl_ok('reload')

    def refused(self, pattern):
        """grapnelctl reload says why, in one line; SIGHUP logs the same."""
        p = self.server.ctl('reload')
        self.assertEqual(p.returncode, 1, p.stdout)
        self.assertRegex(p.stderr, pattern)
        since = self.server.log_now()
        self.assertFalse(self.server.reload())
        self.server.wait_log(pattern, since)
        return p.stderr

    def loops(self):
        return {r['jid'].split('@')[0]: r['loop'] for r in self.server.ctl_json('sessions')}

    def listed(self):
        return {r['module'] for r in self.server.ctl_json('modules')}

    # ---- cases -----------------------------------------------------------------------------------

    def test_builds_with_the_installed_files_alone(self):
        self.assertTrue(os.path.exists(f'{self.prefix}/include/grapnel/module.h'))
        for flag in self.flags[0]:
            self.assertNotIn(SRC + '/include', flag)

    def test_dropped_in_with_sighup(self):
        self.talk.start().more()
        self.assertIsNone(self.query(self.nurse))
        self.install('v1')
        self.enable()
        self.assertTrue(self.server.reload())
        self.assertEqual(self.query(self.nurse)[1], 1)
        self.talk.more()
        self.assertIn('mod_counter', self.listed())
        self.assertIn(('user_send_message', 'mod_counter'), {
            (r['hook'], r['module']) for r in self.server.ctl_json('hooks', HOST)})
        self.talk.stop()

    def test_dropped_in_with_grapnelctl(self):
        self.talk.start().more()
        self.install('v1')
        self.enable()
        self.assertRegex(self.reload(), r'\[mod_counter\]: added')
        self.assertEqual(self.query(self.nurse)[1], 1)
        self.talk.more()
        self.talk.stop()

    def test_only_on_one_host(self):
        self.install('v1')
        self.enable('[mod_counter two.example]\n')
        self.reload()
        self.assertIsNone(self.query(self.nurse))
        rows = self.server.ctl_json('modules')
        self.assertEqual({r['host'] for r in rows if r['module'] == 'mod_counter'}, {'two.example'})
        self.enable('[mod_counter]\n[mod_counter two.example]\nenabled = no\n')
        self.reload()
        self.assertIsNotNone(self.query(self.nurse))
        rows = self.server.ctl_json('modules')
        self.assertEqual({r['host'] for r in rows if r['module'] == 'mod_counter'}, {HOST})

    def test_new_code_keeps_state_and_counts_every_message_once(self):
        self.install('v1')
        self.enable()
        self.reload()
        self.talk.start().more()
        for name, version in (('v2', 2), ('v1', 1), ('v2', 2)):
            self.install(name)
            self.assertIn('mod_counter: new code', self.reload())
            self.talk.more()
            self.assertEqual(self.query(self.nurse)[1], version)
        self.talk.stop()
        counts = [self.query(c)[0] for c in (self.juliet, self.romeo)]
        at = self.loops()
        if at['juliet'] == at['romeo']:
            self.assertEqual(counts, [sum(self.talk.sent)] * 2)
        else:
            self.assertEqual(counts, self.talk.sent)
        self.install('v1')                             # in silence: exactly the same
        self.reload()
        self.assertEqual([self.query(c) for c in (self.juliet, self.romeo)],
                         [(n, 1) for n in counts])

    def test_option_changes_under_traffic(self):
        self.install('v1')
        self.enable()
        self.reload()
        self.talk.start().more()
        self.enable('[mod_counter]\nstep = 1000\n')
        self.assertRegex(self.reload(), r'\[mod_counter\] step: .*1000')
        self.talk.more()
        self.talk.more()
        self.talk.stop()
        self.assertGreaterEqual(self.query(self.juliet)[0], 200 * 1000)

    def test_unchanged_reload_changes_nothing(self):
        self.install('v1')
        self.enable()
        self.reload()
        self.talk.start().more()
        for _ in range(10):
            self.assertIn('options and modules are those in use', self.reload())
        self.talk.more()
        self.talk.stop()

    def test_bad_files_change_nothing(self):
        self.install('v1')
        self.enable()
        self.reload()
        self.talk.start().more()
        for name, pattern in (
                ('truncated', r'mod_counter\.so.*(damaged|incomplete)'),
                ('empty', r'mod_counter\.so.*empty'),
                ('text', r'mod_counter\.so.*not a shared object'),
                ('header', r'mod_counter\.so.*(damaged|incomplete)'),
                ('zeros', r'mod_counter\.so'),
                ('tag', r'mod_counter\.so.*headers of another server.*rebuild'),
                ('symbol', r'mod_counter\.so.*no_such_function_anywhere'),
                ('start', r'mod_counter.*the moon is in the wrong phase')):
            with self.subTest(name):
                self.install(name)
                self.refused(pattern)
                self.assertEqual(self.query(self.nurse)[1], 1)
                self.talk.more(50)
        self.install('v2')
        self.reload()
        self.assertEqual(self.query(self.nurse)[1], 2)
        self.talk.more()
        self.talk.stop()
        self.assertGreaterEqual(self.query(self.juliet)[0], self.talk.sent[0])

    def test_bad_file_at_the_first_time(self):
        self.talk.start().more()
        for name in ('truncated', 'tag', 'symbol', 'start'):
            with self.subTest(name):
                self.install(name)
                self.enable()
                self.refused('mod_counter')
                self.assertNotIn('mod_counter', self.listed())
                self.talk.more(50)
        self.talk.stop()

    def test_file_that_everybody_may_write(self):
        self.install('v1')
        os.chmod(f'{self.modules}/mod_counter.so', 0o666)
        self.enable()
        self.refused(r'mod_counter\.so.*chmod')

    def test_bad_configuration_changes_nothing(self):
        self.install('v1')
        self.enable()
        self.reload()
        self.talk.start().more()
        for text, pattern in (
                ('[mod_counter]\nstpe = 2\n', r'mod_counter\.ini:2: .*`stpe`.*`step`'),
                ('[mod_counter]\nstep = 0\n', r'mod_counter\.ini:2: .*step'),
                ('[mod_counter]\nstep = many\n', r'mod_counter\.ini:2: .*step'),
                ('[mod_counter far.example]\n', r'mod_counter\.ini:1: .*far\.example'),
                ('[mod_countre]\n', r'mod_counter\.ini:1: .*mod_countre'),
                ('[mod_counter\n', r'mod_counter\.ini:1: ')):
            with self.subTest(text):
                self.enable(text)
                self.refused(pattern)
                self.assertEqual(self.query(self.nurse)[1], 1)
                self.talk.more(50)
        self.enable()
        self.reload()
        self.talk.more()
        self.talk.stop()

    def test_a_refusal_leaves_no_trace(self):
        """New code is looked at as well when the configuration is wrong; nothing of that stays."""
        before = sorted(os.listdir(self.server.data))
        self.install('v1')
        self.enable('[mod_counter]\nnonsense = 1\n[server]\nnonsense = 1\n')
        self.refused('nonsense')
        self.assertEqual(sorted(os.listdir(self.server.data)), before)

    def test_removed_under_traffic(self):
        self.install('v1')
        self.enable()
        self.reload()
        self.talk.start().more()
        self.assertIsNotNone(self.query(self.nurse))
        self.enable(None)
        self.assertRegex(self.reload(), r'\[mod_counter\]: removed')
        self.assertIsNone(self.query(self.nurse))
        self.assertNotIn('mod_counter', self.listed())
        self.talk.more()
        os.unlink(f'{self.modules}/mod_counter.so')
        self.reload()
        self.enable()                                  # now there is no file
        self.refused(r'mod_counter\.ini:1: .*mod_counter')
        self.install('v2')
        self.reload()
        self.assertEqual(self.query(self.nurse)[1], 2)
        self.talk.more()
        self.talk.stop()

    def test_many_reloads_in_a_row(self):
        self.install('v1')
        self.enable()
        self.reload()
        self.talk.start().more(50)
        began = time.monotonic()
        n = 0
        while n < 30 and time.monotonic() - began < 15 * SLOW:
            self.install('v2' if n % 2 == 0 else 'v1')
            self.reload()
            self.talk.more(10)
            n += 1
        for _ in range(20):                            # signals may melt into one
            self.server.signal(signal.SIGHUP)
        self.talk.more()
        self.talk.stop()
        self.assertGreater(n, 5)
        with open(f'/proc/{self.server.process.pid}/maps', encoding='ascii') as f:
            images = {line.split()[-1] for line in f if 'mod_counter' in line}
        if not os.environ.get('GR_KEEP_IMAGES'):
            self.assertLessEqual(len({i for i in images}), 2, images)

    def test_sessions_are_the_same_afterwards(self):
        before = {r['jid']: (r['loop'], r['mechanism']) for r in self.server.ctl_json('sessions')}
        self.install('v1')
        self.enable()
        self.reload()
        self.install('v2')
        self.reload()
        self.enable(None)
        self.reload()
        after = {r['jid']: (r['loop'], r['mechanism']) for r in self.server.ctl_json('sessions')}
        self.assertEqual(before, after)
        for c in (self.juliet, self.romeo, self.nurse):
            c.silent()

    def crash(self, *command):
        """The server dies of what it loads."""
        if command:
            self.server.ctl(*command)
        else:
            self.server.spawn()
        self.assertNotEqual(self.server.wait_end(), 0)

    def test_what_crashes_in_a_reload_is_left_out_at_the_next_start(self):
        for where in CRASHES:
            with self.subTest(where):
                self.install('v1')
                self.enable()
                self.reload()
                self.install(f'crash-{where}')
                self.crash('reload')
                left = sorted(os.listdir(self.server.data))
                status, said = self.server.check()
                self.assertEqual(status, 1)
                self.assertRegex(said, r'mod_counter\.so is not loaded: the server crashed in it.*'
                                       rf'remove {self.server.data}/module\.loading, then reload')
                self.assertEqual(sorted(os.listdir(self.server.data)), left)  # a check touches nothing
                since = self.server.log_now()
                self.server.start()
                self.server.wait_log(r'mod\.skipped: .*mod_counter\.so is not loaded: the server crashed in it\. '
                                     rf'Install another version, or .* from {self.server.data}/modules\.crashed, '
                                     'then reload', since)
                self.assertEqual(os.listdir(self.server.data).count('module.loading'), 0)
                self.assertNotIn('mod_counter', self.listed())
                self.assertIsNone(self.query(self.login('nurse')))
                status, said = self.server.check()
                self.assertEqual(status, 1)
                self.assertRegex(said, r'mod_counter\.ini:1: .*mod_counter\.so is not loaded')
                self.assertRegex(self.reload(), 'mod_counter.so is not loaded')  # still not
                self.install('v2')                     # other contents: loaded at once
                self.assertEqual(self.server.check(), (0, ''))
                self.reload()
                self.assertEqual(self.query(self.login('nurse')), (0, 2))
                self.install(f'crash-{where}')                    # and what runs is not taken away
                self.refused('mod_counter.so is not loaded')
                self.assertEqual(self.query(self.login('nurse'))[1], 2)
                os.unlink(f'{self.server.data}/modules.crashed')

    def test_what_crashes_at_the_start(self):
        self.install('crash-check')
        self.install('needy', 'needy')
        self.install('needier', 'needier')
        needy = '[mod_needier]\n[mod_needy]\n'        # written before what they need
        self.enable(f'{needy}[mod_counter]\n')
        self.server.stop()
        self.crash()
        since = self.server.log_now()
        self.server.start()
        self.server.wait_log(r'mod\.skipped: .*mod_counter\.so is not loaded', since)
        self.server.wait_log(r'mod\.skipped: mod_needy is not loaded either: it needs mod_counter', since)
        self.server.wait_log(r'mod\.skipped: mod_needier is not loaded either: it needs mod_needy', since)
        all_three = {'mod_counter', 'mod_needy', 'mod_needier'}
        self.assertEqual(self.listed() & all_three, set())
        self.enable(f'{needy}[mod_counter]\nstep = 2\n')
        self.reload()
        self.assertNotIn('mod_counter', self.listed())
        os.unlink(f'{self.server.data}/modules.crashed')
        said = self.reload()                           # the administrator has found it out
        self.assertIn('mod_counter: new code', said)
        self.assertIn('mod_needy: new code', said)
        self.assertEqual(self.listed() & all_three, all_three)

    def test_by_hand_after_a_crash(self):
        self.install('crash-start')
        self.crash('module', 'load', 'counter')
        self.server.start()                            # whom nobody told about it
        self.enable()
        said = self.reload()
        self.assertIn('[mod_counter]: added, but not loaded', said)
        self.assertNotIn('(live)', said)
        for command in ('load', 'reload'):
            with self.subTest(command):
                p = self.server.ctl('module', command, 'counter')
                self.assertEqual((p.returncode, p.stdout), (1, ''))
                self.assertRegex(p.stderr, 'grapnelctl: mod_counter is not loaded, because of a crash:\n'
                                           '.*mod_counter.so is not loaded: the server crashed in it')
                self.install('v1')                     # mended
                self.assertIn('mod_counter', self.server.ctl_ok('module', command, 'counter'))
                self.assertIn('mod_counter', self.listed())
                self.enable(None)
                self.reload()
                self.install('crash-start')
                self.enable()
                self.reload()
        os.unlink(f'{self.server.data}/modules.crashed')

    def test_killed_while_loading(self):
        """Whoever runs at that time has not crashed: nothing is left out afterwards."""
        gate = f'{self.server.dir}/gate'
        self.install('v1')
        self.enable()
        self.reload()
        for how in ('start', 'reload'):
            for number in (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV):
                with self.subTest(f'{how}, {number.name}'):
                    self.install('wait')
                    os.mkfifo(gate)
                    if how == 'start':
                        self.server.stop()
                        self.server.spawn()
                    else:
                        self.server.signal(signal.SIGHUP)
                    with open(gate, 'wb'):             # now it is in start()
                        self.server.signal(number)
                        self.assertEqual(self.server.wait_end(), -number)
                    os.unlink(gate)
                    self.assertIn('module.loading', os.listdir(self.server.data))
                    since = self.server.log_now()
                    self.server.start()
                    self.assertFalse(self.server.has_logged(r'mod\.skipped', since))
                    self.assertEqual(self.query(self.login('nurse')), (0, 4))
                    self.assertEqual({n for n in os.listdir(self.server.data)
                                      if n.startswith('module')}, set())
                    self.install('v1')
                    self.reload()

    def test_killed_at_another_time(self):
        """Nobody is to blame but who was being loaded."""
        self.install('v1')
        self.enable()
        self.reload()
        self.server.kill()
        self.server.start()
        self.assertIn('mod_counter', self.listed())
        self.install('crash-start')
        self.enable(None)
        self.reload()
        self.assertNotIn('module.loading', os.listdir(self.server.data))

    def test_survives_a_restart(self):
        self.install('v1')
        self.enable()
        self.server.restart()
        self.nurse = self.login('nurse')
        self.assertEqual(self.query(self.nurse), (0, 1))


if __name__ == '__main__':
    tap.main()
