// The mesh's authority and the certificates that it issues, as `medisync pki` makes them.
// What x509 asks for, and before it.
import 'reflect-metadata';

import { webcrypto } from 'node:crypto';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import * as x509 from '@peculiar/x509';

export interface Authority {
  certificate: string;
  key: string;
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
const HOUR_MS = 3_600_000;
const LEAF_LIVES_MS = 24 * HOUR_MS;
const AUTHORITY_LIVES_MS = 365 * 24 * HOUR_MS;
/** Clocks differ. */
const BEGINS_BEFORE_MS = 5 * 60_000;

x509.cryptoProvider.set(webcrypto as Crypto);

const newKeys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']) as Promise<CryptoKeyPair>;
const pemOf = async (key: CryptoKey) => x509.PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY');
const livesFrom = (now: number, lives: number) => ({ notBefore: new Date(now - BEGINS_BEFORE_MS), notAfter: new Date(now + lives) });

export async function makeAuthority(now = Date.now()): Promise<Authority> {
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=MediSync mesh authority',
    keys,
    signingAlgorithm: ALGORITHM,
    ...livesFrom(now, AUTHORITY_LIVES_MS),
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString('pem'), key: await pemOf(keys.privateKey) };
}

/** A part's certificate and key, as PEM. */
export async function issue(authority: Authority, part: string, now = Date.now()): Promise<Authority> {
  const issuer = new x509.X509Certificate(authority.certificate);
  const signingKey = await webcrypto.subtle.importKey(
    'pkcs8', x509.PemConverter.decodeFirst(authority.key), ALGORITHM, false, ['sign']);
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.create({
    subject: `CN=${part}`,
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey: signingKey as CryptoKey,
    signingAlgorithm: ALGORITHM,
    ...livesFrom(now, LEAF_LIVES_MS),
    extensions: [
      new x509.SubjectAlternativeNameExtension([
        { type: 'url', value: `spiffe://medisync/${part}` },
        { type: 'dns', value: part },
        { type: 'dns', value: 'localhost' },
      ]),
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  return { certificate: certificate.toString('pem'), key: await pemOf(keys.privateKey) };
}

/** Writes a part's folder: a reader finds whole files, and a pair that does not match for a moment only. */
export async function publish(folder: string, part: string, trusted: string[], own?: Authority): Promise<void> {
  const place = join(folder, part);
  await mkdir(place, { recursive: true, mode: 0o700 });
  const files: [string, string][] = [['ca.pem', trusted.map((pem) => pem.trim()).join('\n') + '\n']];
  if (own) files.push([`${part}.key`, own.key + '\n'], [`${part}.pem`, own.certificate + '\n']);
  for (const [name, text] of files) {
    await writeFile(join(place, `${name}.new`), text, { mode: 0o600 });
    await rename(join(place, `${name}.new`), join(place, name));
  }
}
