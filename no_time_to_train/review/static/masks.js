// COCO's compressed run lengths, decoded and painted in the browser. Runs go down the columns, zeros first.

export function decodeRuns(counts) {
  const runs = [];
  let position = 0;
  while (position < counts.length) {
    let value = 0, shift = 0, more = true;
    while (more) {
      const part = counts.charCodeAt(position++) - 48;
      value |= (part & 31) << shift;
      shift += 5;
      more = (part & 32) !== 0;
      if (!more && (part & 16)) value |= -1 << shift;
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

// Where runs of ones begin and end, as positions in column-major order.
export function decodeMask(segmentation) {
  const runs = decodeRuns(segmentation.counts);
  const [height, width] = segmentation.size;
  const toggles = new Float64Array(runs.length);
  let end = 0;
  for (let i = 0; i < runs.length; i++) toggles[i] = end += runs[i];
  return { height, width, toggles, box: maskBox(toggles, height), area: maskArea(toggles) };
}

function maskArea(toggles) {
  let area = 0;
  for (let i = 0; i + 1 < toggles.length; i += 2) area += toggles[i + 1] - toggles[i];
  return area;
}

function maskBox(toggles, height) {
  let left = Infinity, right = -1, top = Infinity, bottom = -1;
  for (let i = 0; i + 1 < toggles.length; i += 2) {
    const start = toggles[i], last = toggles[i + 1] - 1;
    if (last < start) continue;
    const first = Math.floor(start / height), final = Math.floor(last / height);
    left = Math.min(left, first);
    right = Math.max(right, final);
    top = Math.min(top, first === final ? start % height : 0);
    bottom = Math.max(bottom, first === final ? last % height : height - 1);
  }
  return { left, top, right: right + 1, bottom: bottom + 1 };
}

export function covers(mask, x, y) {
  const column = Math.floor(x), row = Math.floor(y);
  if (column < 0 || row < 0 || column >= mask.width || row >= mask.height) return false;
  const position = column * mask.height + row;
  let low = 0, high = mask.toggles.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (mask.toggles[middle] <= position) low = middle + 1; else high = middle;
  }
  return low % 2 === 1;
}

// A canvas of the mask's box: filled softly, its outline strongly. Large masks are painted at every stride-th pixel.
export function paintMask(mask, color, fill) {
  const { left, top, right, bottom } = mask.box;
  const stride = Math.max(1, Math.ceil(Math.max(mask.width, mask.height) / 2000));
  const width = Math.max(1, Math.ceil((right - left) / stride)), height = Math.max(1, Math.ceil((bottom - top) / stride));
  const inside = new Uint8Array(width * height);
  for (let i = 0; i + 1 < mask.toggles.length; i += 2) {
    let start = mask.toggles[i];
    const end = mask.toggles[i + 1];
    while (start < end) {
      const column = Math.floor(start / mask.height);
      const stop = Math.min(end, (column + 1) * mask.height);
      if ((column - left) % stride === 0) {
        const x = (column - left) / stride;
        const from = Math.ceil((start - column * mask.height - top) / stride);
        const to = Math.ceil((stop - column * mask.height - top) / stride);
        for (let y = from; y < to; y++) inside[y * width + x] = 1;
      }
      start = stop;
    }
  }
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const [red, green, blue] = color.match(/\d+/g).map(Number);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = y * width + x;
      if (!inside[i]) continue;
      const edge = x === 0 || y === 0 || x === width - 1 || y === height - 1 ||
        !inside[i - 1] || !inside[i + 1] || !inside[i - width] || !inside[i + width];
      image.data.set([red, green, blue, edge ? 255 : fill ? 100 : 0], i * 4);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
