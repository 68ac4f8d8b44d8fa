// The table of clips: sorting, filtering, columns, and going through it with the keyboard.

const table = document.getElementById('clip-table'), body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
const filterBox = document.getElementById('filter'), systemBox = document.getElementById('system');
const collator = new Intl.Collator('en', { numeric: true });

function sortBy(head) {
  const descending = head.getAttribute('aria-sort') === 'ascending', column = heads.indexOf(head);
  for (const other of heads) other.setAttribute('aria-sort', 'none');
  head.setAttribute('aria-sort', descending ? 'descending' : 'ascending');
  const numeric = head.dataset.sort === 'number', sign = descending ? -1 : 1;
  const keyed = [...body.rows].map(row => [row.cells[column].dataset.value, row]);
  // What has no value comes last in either direction.
  keyed.sort(([a], [b]) => a === '' || b === '' ? (a === '') - (b === '')
    : sign * (numeric ? (Number(a) > Number(b)) - (Number(a) < Number(b)) : collator.compare(a, b)));
  body.append(...keyed.map(([, row]) => row));
}

/** Terms as they may be typed: with spaces about the sign of a limit, and the minus that the table shows. */
function terms() {
  const typed = filterBox.value.normalize().toLowerCase().replace(/(\w+)\s*(<=|>=|<|>|=)\s*([-−]?[\d.])/g,
    (term, key, sign, start) => heads.some(head => head.dataset.key === key) ? key + sign + start.replace('−', '-') : term);
  return typed.split(/\s+/).filter(Boolean);
}

/** A test of one word: `metric<number` where the metric is a column, otherwise a part of the row's text. */
function testOf(term) {
  const parts = /^([\w]+)(<=|>=|<|>|=)(-?[\d.]+(?:e-?\d+)?)$/.exec(term);
  const column = parts ? heads.findIndex(head => head.dataset.key === parts[1]) : -1;
  if (column < 0) return row => row.dataset.text.normalize().toLowerCase().includes(term);
  const limit = Number(parts[3]);
  const holds = { '<': v => v < limit, '>': v => v > limit, '<=': v => v <= limit, '>=': v => v >= limit, '=': v => v === limit }[parts[2]];
  return row => row.cells[column].dataset.value !== '' && holds(Number(row.cells[column].dataset.value));
}

function filterRows() {
  const tests = terms().map(testOf);
  const system = systemBox ? systemBox.value : '';
  let shown = 0;
  for (const row of body.rows) {
    row.hidden = !(tests.every(test => test(row)) && (system === '' || row.dataset.system === system));
    shown += !row.hidden;
  }
  document.getElementById('count').textContent = `${shown} of ${body.rows.length} rows.`;
}

for (const head of heads) head.querySelector('button').addEventListener('click', () => sortBy(head));
filterBox.addEventListener('input', filterRows);
if (systemBox) systemBox.addEventListener('input', filterRows);
for (const box of document.querySelectorAll('[data-column]')) {
  box.addEventListener('change', () => {
    const column = heads.findIndex(head => head.dataset.metric === box.dataset.column);
    for (const row of table.rows) row.cells[column].hidden = !box.checked;
  });
}
body.addEventListener('keydown', event => {
  if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
  const visible = [...body.rows].filter(row => !row.hidden), place = visible.indexOf(event.target.closest('tr'));
  const next = visible[place + (event.key === 'ArrowDown' ? 1 : -1)];
  if (place >= 0 && next) next.querySelector('button').focus();
  event.preventDefault();
});
filterRows();
