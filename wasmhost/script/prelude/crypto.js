  // ---- crypto.subtle: digests and HMAC

  // The first 64 bits of the fractions of the cube roots of the first 80 primes, and of the square roots of the first 16:
  // SHA-512's and SHA-384's constants, whose upper halves are SHA-256's.
  const words = (digits) => { const list = new Int32Array(digits.length / 8); for (let i = 0; i < list.length; i++) list[i] = parseInt(digits.slice(8 * i, 8 * i + 8), 16); return list; };
  const roots3 = words("428a2f98d728ae227137449123ef65cdb5c0fbcfec4d3b2fe9b5dba58189dbbc3956c25bf348b53859f111f1b605d019923f82a4af194f9bab1c5ed5da6d8118d807aa98a303024212835b0145706fbe243185be4ee4b28c550c7dc3d5ffb4e272be5d74f27b896f80deb1fe3b1696b19bdc06a725c71235c19bf174cf692694e49b69c19ef14ad2efbe4786384f25e30fc19dc68b8cd5b5240ca1cc77ac9c652de92c6f592b02754a7484aa6ea6e4835cb0a9dcbd41fbd476f988da831153b5983e5152ee66dfaba831c66d2db43210b00327c898fb213fbf597fc7beef0ee4c6e00bf33da88fc2d5a79147930aa72506ca6351e003826f142929670a0e6e7027b70a8546d22ffc2e1b21385c26c9264d2c6dfc5ac42aed53380d139d95b3df650a73548baf63de766a0abb3c77b2a881c2c92e47edaee692722c851482353ba2bfe8a14cf10364a81a664bbc423001c24b8b70d0f89791c76c51a30654be30d192e819d6ef5218d69906245565a910f40e35855771202a106aa07032bbd1b819a4c116b8d2d0c81e376c085141ab532748774cdf8eeb9934b0bcb5e19b48a8391c0cb3c5c95a634ed8aa4ae3418acb5b9cca4f7763e373682e6ff3d6b2b8a3748f82ee5defb2fc78a5636f43172f6084c87814a1f0ab728cc702081a6439ec90befffa23631e28a4506cebde82bde9bef9a3f7b2c67915c67178f2e372532bca273eceea26619cd186b8c721c0c207eada7dd6cde0eb1ef57d4f7fee6ed17806f067aa72176fba0a637dc5a2c898a6113f9804bef90dae1b710b35131c471b28db77f523047d8432caab7b40c724933c9ebe0a15c9bebc431d67c49c100d4c4cc5d4becb3e42b6597f299cfc657e2a5fcb6fab3ad6faec6c44198c4a475817");
  const roots2 = words("6a09e667f3bcc908bb67ae8584caa73b3c6ef372fe94f82ba54ff53a5f1d36f1510e527fade682d19b05688c2b3e6c1f1f83d9abfb41bd6b5be0cd19137e2179cbbb9d5dc1059ed8629a292a367cd5079159015a3070dd17152fecd8f70e593967332667ffc00b318eb44a8768581511db0c2e0d64f98fa747b5481dbefa4fa4");
  const upper = (list, n) => { const half = new Int32Array(n); for (let i = 0; i < n; i++) half[i] = list[2 * i]; return half; };
  const roots3Upper = upper(roots3, 64);

  // padded is the message with its end and its length in bits, as big-endian words of 32 bits.
  const padded = (bytes, block) => {
    const n = bytes.length, length = (floor((n + block / 8) / block) + 1) * (block / 4);
    const list = new Int32Array(length);
    for (let i = 0; i < n; i++) list[i >> 2] |= bytes[i] << (24 - 8 * (i & 3));
    list[n >> 2] |= 128 << (24 - 8 * (n & 3));
    list[length - 2] = floor(n / 0x20000000);
    list[length - 1] = n << 3;
    return list;
  };
  const unpacked = (h, n) => { const bytes = new bytesOf(n); for (let i = 0; i < n; i++) bytes[i] = h[i >> 2] >> (24 - 8 * (i & 3)); return bytes; };

  const sha1 = (bytes) => {
    const m = padded(bytes, 64), w = new Int32Array(80), h = new Int32Array([0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0]);
    for (let at = 0; at < m.length; at += 16) {
      let a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
      for (let i = 0; i < 80; i++) {
        let x;
        if (i < 16) x = m[at + i]; else { x = w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16]; x = (x << 1) | (x >>> 31); }
        w[i] = x;
        const f = i < 20 ? ((b & c) | (~b & d)) + 0x5a827999 : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1 : i < 60 ? ((b & c) | (b & d) | (c & d)) - 0x70e44324 : (b ^ c ^ d) - 0x359d3e2a;
        const t = (((a << 5) | (a >>> 27)) + f + e + x) | 0;
        e = d; d = c; c = (b << 30) | (b >>> 2); b = a; a = t;
      }
      h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e;
    }
    return unpacked(h, 20);
  };
  const sha256 = (bytes) => {
    const m = padded(bytes, 64), w = new Int32Array(64), h = upper(roots2, 8), k = roots3Upper;
    for (let at = 0; at < m.length; at += 16) {
      let a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], l = h[7];
      for (let i = 0; i < 64; i++) {
        let x;
        if (i < 16) x = m[at + i]; else {
          const p = w[i - 15], q = w[i - 2];
          x = (w[i - 16] + w[i - 7] + (((p >>> 7) | (p << 25)) ^ ((p >>> 18) | (p << 14)) ^ (p >>> 3)) + (((q >>> 17) | (q << 15)) ^ ((q >>> 19) | (q << 13)) ^ (q >>> 10))) | 0;
        }
        w[i] = x;
        const t = (l + (((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))) + ((e & f) ^ (~e & g)) + k[i] + x) | 0;
        const u = ((((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        l = g; g = f; f = e; e = (d + t) | 0; d = c; c = b; b = a; a = (t + u) | 0;
      }
      h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += l;
    }
    return unpacked(h, 32);
  };
  // SHA-512's words are pairs of 32 bits, the upper half first.
  const sha512 = (start, length) => (bytes) => {
    const m = padded(bytes, 128), w = new Int32Array(160), h = roots2.slice(start, start + 16), v = new Int32Array(16);
    for (let at = 0; at < m.length; at += 32) {
      v.set(h);
      for (let i = 0; i < 160; i += 2) {
        let xh, xl;
        if (i < 32) { xh = m[at + i]; xl = m[at + i + 1]; } else {
          const ph = w[i - 30], pl = w[i - 29], qh = w[i - 4], ql = w[i - 3];
          const sl = ((pl >>> 1) | (ph << 31)) ^ ((pl >>> 8) | (ph << 24)) ^ ((pl >>> 7) | (ph << 25)), sh = ((ph >>> 1) | (pl << 31)) ^ ((ph >>> 8) | (pl << 24)) ^ (ph >>> 7);
          const tl = ((ql >>> 19) | (qh << 13)) ^ ((qh >>> 29) | (ql << 3)) ^ ((ql >>> 6) | (qh << 26)), th = ((qh >>> 19) | (ql << 13)) ^ ((ql >>> 29) | (qh << 3)) ^ (qh >>> 6);
          const low = (w[i - 31] >>> 0) + (w[i - 13] >>> 0) + (sl >>> 0) + (tl >>> 0);
          xl = low | 0; xh = (w[i - 32] + w[i - 14] + sh + th + floor(low / 0x100000000)) | 0;
        }
        w[i] = xh; w[i + 1] = xl;
        const eh = v[8], el = v[9], ah = v[0], al = v[1];
        const s1h = ((eh >>> 14) | (el << 18)) ^ ((eh >>> 18) | (el << 14)) ^ ((el >>> 9) | (eh << 23)), s1l = ((el >>> 14) | (eh << 18)) ^ ((el >>> 18) | (eh << 14)) ^ ((eh >>> 9) | (el << 23));
        const s0h = ((ah >>> 28) | (al << 4)) ^ ((al >>> 2) | (ah << 30)) ^ ((al >>> 7) | (ah << 25)), s0l = ((al >>> 28) | (ah << 4)) ^ ((ah >>> 2) | (al << 30)) ^ ((ah >>> 7) | (al << 25));
        const tl = (v[15] >>> 0) + (s1l >>> 0) + (((el & v[11]) ^ (~el & v[13])) >>> 0) + (roots3[i + 1] >>> 0) + (xl >>> 0);
        const th = (v[14] + s1h + ((eh & v[10]) ^ (~eh & v[12])) + roots3[i] + xh + floor(tl / 0x100000000)) | 0;
        const ul = (s0l >>> 0) + (((al & v[3]) ^ (al & v[5]) ^ (v[3] & v[5])) >>> 0);
        const uh = (s0h + ((ah & v[2]) ^ (ah & v[4]) ^ (v[2] & v[4])) + floor(ul / 0x100000000)) | 0;
        v.copyWithin(2, 0, 14);
        const nl = (v[9] >>> 0) + ((tl | 0) >>> 0);
        v[8] = v[8] + th + floor(nl / 0x100000000); v[9] = nl;
        const rl = ((tl | 0) >>> 0) + ((ul | 0) >>> 0);
        v[0] = th + uh + floor(rl / 0x100000000); v[1] = rl;
      }
      for (let i = 0; i < 16; i += 2) {
        const low = (h[i + 1] >>> 0) + (v[i + 1] >>> 0);
        h[i] = h[i] + v[i] + floor(low / 0x100000000); h[i + 1] = low;
      }
    }
    return unpacked(h, length);
  };
  const hashes = { __proto__: null, "SHA-1": [sha1, 64], "SHA-256": [sha256, 64], "SHA-384": [sha512(16, 48), 128], "SHA-512": [sha512(0, 64), 128] };
  const hashNamed = (algorithm) => {
    const name = `${typeof algorithm === "object" && algorithm !== null ? algorithm.name : algorithm}`.toUpperCase();
    if (hashes[name] === undefined) throw new DOMException(`the digest "${name}" is not known here`, "NotSupportedError");
    return name;
  };
  const given = (data) => {
    if (!ArrayBuffer.isView(data) && !(data instanceof ArrayBuffer)) throw new TypeError("the data wants to be bytes");
    return bytesIn(data).slice();
  };
  const hmac = (name, key, data) => {
    const [hash, block] = hashes[name], inner = new bytesOf(block).fill(0x36), outer = new bytesOf(block).fill(0x5c);
    const k = key.length > block ? hash(key) : key;
    for (let i = 0; i < k.length; i++) { inner[i] ^= k[i]; outer[i] ^= k[i]; }
    return hash(joined([outer, hash(joined([inner, data]))]));
  };
  let secretOf, makeKey;
  class CryptoKey {
    #secret; #about;
    static #made;
    static {
      secretOf = (key, usage, extract) => {
        if (!(key instanceof CryptoKey)) throw new TypeError("that is no CryptoKey");
        if (usage !== undefined && !key.#about.usages.includes(usage)) throw new DOMException(`the key may not ${usage}`, "InvalidAccessError");
        if (extract && !key.#about.extractable) throw new DOMException("the key may not be exported", "InvalidAccessError");
        return key.#secret;
      };
      makeKey = (secret, about) => { CryptoKey.#made = true; const key = new CryptoKey(); key.#secret = secret; key.#about = about; return key; };
    }
    constructor() { if (!CryptoKey.#made) throw new TypeError("a CryptoKey is made by importKey()"); CryptoKey.#made = false; }
    get type() { return "secret"; }
    get extractable() { return this.#about.extractable; }
    get algorithm() { return { name: "HMAC", hash: { name: this.#about.hash }, length: 8 * this.#secret.length }; }
    get usages() { return [...this.#about.usages]; }
  }
  const isHMAC = (algorithm) => {
    const name = `${typeof algorithm === "object" && algorithm !== null ? algorithm.name : algorithm}`.toUpperCase();
    if (name !== "HMAC") throw new DOMException(`the algorithm "${name}" is not known here; HMAC is`, "NotSupportedError");
    return algorithm;
  };
  const hmacKey = (secret, algorithm, extractable, usages) => {
    const about = { hash: hashNamed(isHMAC(algorithm).hash), extractable: !!extractable, usages: [...new Set(usages)] };
    for (const usage of about.usages) if (usage !== "sign" && usage !== "verify") throw new DOMException(`an HMAC key may sign and verify, not "${usage}"`, "SyntaxError");
    if (about.usages.length === 0) throw new DOMException("the key has no usages", "SyntaxError");
    if (secret.length === 0) throw new DOMException("the key is empty", "DataError");
    return makeKey(secret, about);
  };
  const urlSafe = (bytes) => toBase64(bytes).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const subtle = freeze({
    digest: async (algorithm, data) => { const [hash] = hashes[hashNamed(algorithm)]; return hash(given(data)).buffer; },
    importKey: async (format, data, algorithm, extractable, usages) => {
      if (format === "raw") return hmacKey(given(data), algorithm, extractable, usages);
      if (format !== "jwk") throw new DOMException(`keys of the format "${format}" are not known here; "raw" and "jwk" are`, "NotSupportedError");
      if (data?.kty !== "oct" || typeof data.k !== "string") throw new DOMException("the JWK holds no symmetric key", "DataError");
      return hmacKey(unbase64(data.k.replace(/-/g, "+").replace(/_/g, "/")), algorithm, extractable, usages);
    },
    exportKey: async (format, key) => {
      const secret = secretOf(key, undefined, true).slice();
      if (format === "raw") return secret.buffer;
      if (format !== "jwk") throw new DOMException(`keys of the format "${format}" are not known here`, "NotSupportedError");
      return { kty: "oct", k: urlSafe(secret), alg: `HS${key.algorithm.hash.name.slice(4)}`, key_ops: key.usages, ext: true };
    },
    generateKey: async (algorithm, extractable, usages) => {
      const bits = isHMAC(algorithm).length ?? 8 * hashes[hashNamed(algorithm.hash)][1];
      if (!(bits > 0 && bits <= 65536 && bits % 8 === 0)) throw new DOMException("the length wants to be a number of bits, whole bytes", "OperationError");
      return hmacKey(random(bits / 8), algorithm, extractable, usages);
    },
    sign: async (algorithm, key, data) => { isHMAC(algorithm); return hmac(key.algorithm.hash.name, secretOf(key, "sign"), given(data)).buffer; },
    verify: async (algorithm, key, signature, data) => {
      isHMAC(algorithm);
      const want = hmac(key.algorithm.hash.name, secretOf(key, "verify"), given(data)), got = given(signature);
      let differs = want.length ^ got.length;
      for (let i = 0; i < want.length; i++) differs |= want[i] ^ got[i];
      return differs === 0;
    },
  });
  define("CryptoKey", CryptoKey);
  define("crypto", freeze({ ...randomness, subtle }));
