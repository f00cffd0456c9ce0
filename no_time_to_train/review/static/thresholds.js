// From which score on a detection counts, category by category. One slider moves all of them together.

const inside = (value) => Math.min(Math.max(value, 0), 1);
const round = (value) => Math.round(value * 1000) / 1000;

export class Thresholds {
  take(now, ofRun) {
    this.base = new Map(Object.entries(now).map(([id, value]) => [Number(id), value]));
    this.ofRun = new Map(Object.entries(ofRun).map(([id, value]) => [Number(id), value]));
    this.middle = mean(this.base);
    this.center = this.middle;
  }

  // The slider of all bends every threshold so that 0 shows everything, 1 nothing, and where it began changes nothing:
  // differences between categories are kept, and come back when it does.
  of(id) {
    const value = this.base.get(id) ?? this.middle;
    if (this.center === this.middle) return value;
    if (this.center < this.middle) return round((value * this.center) / this.middle);
    return round(1 - ((1 - value) * (1 - this.center)) / (1 - this.middle));
  }

  moveAll(center) {
    this.center = inside(center);
  }

  set(id, value) {
    this.base = new Map([...this.base.keys()].map((key) => [key, key === id ? round(inside(value)) : this.of(key)]));
    this.middle = this.center = mean(this.base);
  }

  add(id) {
    this.base.set(id, this.middle);
    this.ofRun.set(id, this.middle);
  }

  reset() {
    this.base = new Map(this.ofRun);
    this.middle = this.center = mean(this.base);
  }

  areAsLabeled() {
    return [...this.ofRun].every(([id, value]) => Math.abs(this.of(id) - value) < 0.0005);
  }

  values() {
    return Object.fromEntries([...this.base.keys()].map((id) => [id, this.of(id)]));
  }

  describe() {
    const values = [...this.base.keys()].map((id) => this.of(id)).sort((a, b) => a - b);
    const texts = [values[0] ?? this.center, values[values.length - 1] ?? this.center].map((value) => value.toFixed(2));
    return texts[0] === texts[1] ? texts[0] : `${texts[0]} to ${texts[1]}`;
  }
}

function mean(values) {
  return values.size ? [...values.values()].reduce((sum, value) => sum + value, 0) / values.size : 0.5;
}
