"""tests/bench/peers.py: Debian's Prosody and ejabberd, configured for the same work: limits off, the same
features, their own default storage, epoll; on ports of their own, in a temporary folder."""
import hashlib
import hmac
import os
import subprocess

import benchlib as b
import suite

SESSIONS, ACCOUNTS = 2000, 2000
EJABBERD_FRIENDS = 100           # subscriptions take it long: see there
PROSODY = '''
run_as_root = true
daemonize = false
pidfile = "{tmp}/prosody.pid"
data_path = "{tmp}/prosody"
log = {{ {{ levels = {{ min = "error" }}, to = "console" }} }}
network_backend = "epoll"
plugin_paths = {{}}
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "private", "vcard", "version", "time", "ping",
    "lastactivity", "user_account_management", "register_ibr", "offline", "presence", "message", "iq", "c2s"{more} }}
modules_disabled = {{ "s2s", "limits" }}
allow_registration = true
authentication = "internal_hashed"
storage = "internal"
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{}}
interfaces = {{ "127.0.0.1" }}
s2s_ports = {{}}
http_ports = {{}}
https_ports = {{}}
c2s_timeout = 300
network_settings = {{ read_timeout = 3600 }}
ssl = {{ key = "{pem}.key", certificate = "{pem}.crt" }}
VirtualHost "localhost"
'''
EJABBERD = '''
hosts: [localhost]
loglevel: error
certfiles: ["{pem}"]
listen:
  - port: {port}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    starttls: true
auth_password_format: scram
auth_scram_hash: sha
disable_sasl_mechanisms: [X-OAUTH2]
registration_timeout: infinity
max_fsm_queue: 100000
access_rules:
  local: {{allow: all}}
  register: {{allow: all}}
modules:{more}
  mod_roster: {{versioning: true}}
  mod_disco: {{}}
  mod_private: {{}}
  mod_vcard: {{search: false}}
  mod_version: {{}}
  mod_time: {{}}
  mod_ping: {{}}
  mod_last: {{}}
  mod_offline: {{access_max_user_messages: unlimited}}
  mod_register: {{ip_access: all, access: register}}
'''

# What they have beyond that, by kind of server (suite.Target).
SM_PROSODY, SM_EJABBERD = ', "smacks"', '\n  mod_stream_mgmt: {}'
MORE_PROSODY = {'sm': SM_PROSODY, 'archive': SM_PROSODY + ', "mam"'}
MORE_EJABBERD = {'sm': SM_EJABBERD, 'archive': SM_EJABBERD + '\n  mod_mam: {default: always}'}


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


def prosody_accounts(count, group):
    salt, rounds = 'bench-salt', 4096
    salted = hashlib.pbkdf2_hmac('sha1', b'secret', salt.encode(), rounds)
    stored = hashlib.sha1(hmac.new(salted, b'Client Key', 'sha1').digest()).hexdigest()
    server = hmac.new(salted, b'Server Key', 'sha1').hexdigest()
    account = (f'return {{ ["iteration_count"] = {rounds}; ["salt"] = "{salt}"; '
               f'["stored_key"] = "{stored}"; ["server_key"] = "{server}"; }};\n')
    for i in range(count):
        write(f'{b.TMP}/prosody/localhost/accounts/u{i}.dat', account)
        if i >= suite.CHATTERS:          # no contacts
            continue
        base = i // group * group
        items = ''.join(f'["u{k}@localhost"] = {{ ["subscription"] = "both"; ["groups"] = {{}}; }}; '
                        for k in range(base, base + group) if k != i)
        write(f'{b.TMP}/prosody/localhost/roster/u{i}.dat',
              f'return {{ [false] = {{ ["version"] = 1; ["pending"] = {{}}; }}; {items}}};\n')


def prosody(kind):
    write(f'{b.TMP}/prosody.cfg.lua', PROSODY.format(tmp=b.TMP, pem=b.certificate(), port=b.PORT + 1,
                                                     more=MORE_PROSODY.get(kind, '')))
    return b.Server(['prosody', '--config', f'{b.TMP}/prosody.cfg.lua', '-F'], b.PORT + 1)


def ejabberd(kind):
    write(f'{b.TMP}/ejabberd.yml', EJABBERD.format(tmp=b.TMP, pem=b.certificate(), port=b.PORT + 2,
                                                   more=MORE_EJABBERD.get(kind, '')))
    env = {'EJABBERD_CONFIG_PATH': f'{b.TMP}/ejabberd.yml', 'ERL_LIBS': '/usr/lib/x86_64-linux-gnu',
           'EJABBERD_LOG_PATH': f'{b.TMP}/ejabberd.log', 'ERL_MAX_PORTS': '65536', 'HOME': b.TMP,
           'ERL_CRASH_DUMP': f'{b.TMP}/erl_crash.dump'}
    # One scheduler for one core, and no busy waiting, which would be counted as work.
    return b.Server(['erl', '-noinput', '-sname', 'bench@localhost', '-start_epmd', 'false',
                     '-erl_epmd_port', str(b.PORT + 7), '+K', 'true', '+P', '250000', '+S', '1:1', '+sbwt', 'none',
                     '+sbwtdcpu', 'none', '+sbwtdio', 'none', '-mnesia', 'core_dir', 'false', '-mnesia', 'dir',
                     f'"{b.TMP}/mnesia"', '-s', 'ejabberd'], b.PORT + 2, env=env, wait=60)


def ejabberd_accounts(count):
    server = ejabberd('tls')
    for first in range(0, count, 500):       # who has registered and does not log in is soon closed
        b.load(server, 'register', first=first, sessions=500, settle=0, timeout=300)
    b.load(server, 'befriend', sessions=EJABBERD_FRIENDS, group=suite.GROUP, duration=30, settle=0,
           timeout=200)
    server.stop()


def targets():
    """Installed, configured, with accounts."""
    if subprocess.run(['sh', '-c', 'command -v prosody erl'], stdout=subprocess.DEVNULL,
                      check=False).returncode != 0 or not os.path.exists('/usr/sbin/ejabberdctl'):
        print('peers are not installed: run scripts/bench-peers')
        return []
    prosody_accounts(ACCOUNTS, suite.GROUP)
    ejabberd_accounts(ACCOUNTS)
    return [suite.Target('prosody', prosody, peer=True, sessions=SESSIONS, settle=5,
                         store=f'{b.TMP}/prosody'),
            suite.Target('ejabberd', ejabberd, peer=True, sessions=SESSIONS, settle=5,
                         store=f'{b.TMP}/mnesia', friends=EJABBERD_FRIENDS)]
