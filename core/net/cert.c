/* net/cert.c: certificates and keys as files: read, matched, judged (reliability 6.7).
 *
 * Main thread, at start and reload. What would make the server unsafe or useless is refused with a
 * sentence that says what to do; what only may surprise (expiry, a name that is not in the
 * certificate) is logged. */
#include "net/tls_priv.h"

#include <grapnel/log.h>

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <unicode/uidna.h>

#define RSA_MIN_BITS  2048
#define RSA_SLOW_BITS 4096 /* 3 ms per handshake on the loop */
#define WARN_DAYS     14

void cert_problem(char **why, const char *fmt, ...)
{
    char text[512];
    char *all;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    all = *why == NULL ? gr_strdup(text) : gr_asprintf("%s\n%s", *why, text);
    gr_free(*why);
    *why = all;
}

char *cert_host(const char *domain)
{
    UIDNAInfo info = UIDNA_INFO_INITIALIZER;
    UErrorCode err = U_ZERO_ERROR;
    char host[256];
    UIDNA *idna;
    int32_t len;

    /* ASCII stays as it is: UTS 46 would refuse names that resolve (underscores, "--"). */
    if (strspn(domain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:[]") ==
        strlen(domain)) {
        char *copy = domain[0] != '\0' && strlen(domain) < 256 ? gr_strdup(domain) : NULL;

        for (char *p = copy; p != NULL && *p != '\0'; p++)
            if (*p >= 'A' && *p <= 'Z')
                *p = (char)(*p + ('a' - 'A'));
        return copy;
    }
    idna = uidna_openUTS46(UIDNA_NONTRANSITIONAL_TO_ASCII | UIDNA_CHECK_BIDI | UIDNA_USE_STD3_RULES,
                           &err);
    if (U_FAILURE(err))
        return NULL;
    len = uidna_nameToASCII_UTF8(idna, domain, -1, host, (int32_t)sizeof(host) - 1, &info, &err);
    uidna_close(idna);
    if (U_FAILURE(err) || info.errors != 0 || len <= 0)
        return NULL;
    return gr_strndup(host, (size_t)len);
}

/* An encrypted key would ask for its password on the terminal. */
static int no_password(char *buf, int size, int writing, void *arg)
{
    (void)buf, (void)size, (void)writing, (void)arg;
    return -1;
}

static int check_file(const char *file, char **why)
{
    struct stat st;
    FILE *f = fopen(file, "re");
    bool open = f != NULL;

    if (!open || fstat(fileno(f), &st) != 0) {
        cert_problem(why, "cannot read %s: %s", file, strerror(errno));
        if (open)
            fclose(f);
        return GR_EIO;
    }
    fclose(f);
    if (S_ISDIR(st.st_mode)) {
        cert_problem(why, "%s is a directory, not a PEM file", file);
        return GR_EINVAL;
    }
    return 0;
}

static bool public_file(const char *file)
{
    struct stat st;

    return stat(file, &st) == 0 && (st.st_mode & S_IROTH) != 0;
}

static void warn_dates(const X509 *x, const struct tls_cert *cert)
{
    int days = 0, seconds = 0;

    if (X509_cmp_current_time(X509_get0_notBefore(x)) > 0)
        gr_warn("tls.not_yet_valid", "the certificate in %s is not valid yet", cert->cert_file);
    if (!ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(x)))
        return;
    if (days < 0 || seconds < 0)
        gr_warn("tls.expired", "the certificate in %s has expired: clients will refuse it",
                cert->cert_file);
    else if (days < WARN_DAYS)
        gr_warn("tls.expires", "the certificate in %s expires in %d days", cert->cert_file, days);
}

void cert_warn_name(X509 *x, const struct tls_cert *cert)
{
    char *host = cert_host(cert->domain);

    if (host != NULL && X509_check_host(x, host, 0, 0, NULL) != 1)
        gr_warn("tls.wrong_name", "the certificate in %s does not name %s: clients will refuse it",
                cert->cert_file, cert->domain);
    gr_free(host);
}

static int check_strength(X509 *x, const struct tls_cert *cert, char **why)
{
    EVP_PKEY *key = X509_get0_pubkey(x);

    if (key == NULL) {
        cert_problem(why, "the certificate in %s has a key of an unknown kind", cert->cert_file);
        return GR_ENOTSUP;
    }
    if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA)
        return 0;
    if (EVP_PKEY_get_bits(key) < RSA_MIN_BITS) {
        cert_problem(why, "the RSA key of %s has %d bits; at least %d are needed", cert->cert_file,
                     EVP_PKEY_get_bits(key), RSA_MIN_BITS);
        return GR_EINVAL;
    }
    if (EVP_PKEY_get_bits(key) >= RSA_SLOW_BITS)
        gr_info("tls.slow_key",
                "%s has an RSA key of %d bits: an ECDSA key (P-256) makes logins "
                "many times cheaper",
                cert->cert_file, EVP_PKEY_get_bits(key));
    return 0;
}

static EVP_PKEY *read_key(const char *file)
{
    FILE *f = fopen(file, "re");
    EVP_PKEY *key = NULL;

    if (f != NULL) {
        key = PEM_read_PrivateKey(f, NULL, no_password, NULL);
        fclose(f);
    }
    return key;
}

static X509 *read_leaf(const char *file)
{
    FILE *f = fopen(file, "re");
    X509 *x = NULL;

    if (f != NULL) {
        x = PEM_read_X509_AUX(f, NULL, no_password, NULL);
        fclose(f);
    }
    return x;
}

/* Both files are readable: do they hold a pair that we want to use? */
static int load_pair(SSL_CTX *into, const struct tls_cert *cert, const char *key_file, char **why)
{
    X509 *x = read_leaf(cert->cert_file);
    EVP_PKEY *key = read_key(key_file);
    int rc = GR_EINVAL;

    if (x == NULL) {
        cert_problem(why, "%s holds no PEM certificate", cert->cert_file);
    } else if (key == NULL) {
        cert_problem(why, "%s holds no usable private key (PEM, without a password): %s", key_file,
                     tls_error());
    } else if (public_file(key_file)) {
        cert_problem(why, "the private key in %s can be read by everybody: chmod 640 %s", key_file,
                     key_file);
    } else if (check_strength(x, cert, why) != 0) {
        rc = GR_EINVAL;
    } else if (X509_check_private_key(x, key) != 1) {
        cert_problem(why, "the key in %s does not belong to the certificate in %s", key_file,
                     cert->cert_file);
    } else if (SSL_CTX_use_certificate_chain_file(into, cert->cert_file) != 1 ||
               SSL_CTX_use_PrivateKey(into, key) != 1) {
        cert_problem(why, "cannot use the certificate in %s: %s", cert->cert_file, tls_error());
    } else {
        warn_dates(x, cert);
        cert_warn_name(x, cert);
        rc = 0;
    }
    EVP_PKEY_free(key);
    X509_free(x);
    ERR_clear_error();
    return rc;
}

int cert_load(SSL_CTX *into, const struct tls_cert *cert, char **why)
{
    const char *key_file = cert->key_file != NULL ? cert->key_file : cert->cert_file;
    int rc = 0, rc2;

    ERR_clear_error();
    if (cert->key_file != NULL)
        rc = check_file(cert->cert_file, why);
    rc2 = check_file(key_file, why);
    if (rc == 0)
        rc = rc2;
    return rc == 0 ? load_pair(into, cert, key_file, why) : rc;
}
