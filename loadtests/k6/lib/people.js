// Patients to be registered: each another, none of them real.
const GIVEN = ['Ada', 'Bela', 'Chiara', 'Dmitri', 'Elif', 'Femi', 'Greta', 'Hugo', 'Ines', 'Jonas'];
const FAMILY = ['Almeida', 'Bauer', 'Castell', 'Dubois', 'Eriksen', 'Farkas', 'Greco', 'Haddad'];

export function pick(all) {
  return all[Math.floor(Math.random() * all.length)];
}

// A patient of this run. `run` is in the email, by which all of them are found again.
export function person(run, vu, n) {
  const given = pick(GIVEN);
  const family = pick(FAMILY);
  const day = String(1 + (n % 28)).padStart(2, '0');
  return {
    name: `${given} ${family}`,
    email: `${given}.${family}.${vu}.${n}@${run}.example`.toLowerCase(),
    address: `${1 + (n % 200)} Load Street`,
    dateOfBirth: `${1930 + (n % 90)}-${String(1 + (n % 12)).padStart(2, '0')}-${day}`,
  };
}

export function familyName() {
  return pick(FAMILY);
}
