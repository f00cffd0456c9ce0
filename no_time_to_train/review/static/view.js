// The canvas: an image with its masks, zoom and pan. It knows pixels, not decisions.

import { covers, paintMask } from "./masks.js";

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.handlers = { click() {}, box() {}, hover() {} };
    this.scale = 1;
    this.left = 0;
    this.top = 0;
    this.image = null;
    this.size = { width: 1, height: 1 };
    this.items = [];
    this.points = [];
    this.box = null;
    this.dragsBox = false;
    this.pending = false;
    new ResizeObserver(() => this.fit()).observe(canvas);
    this.listen();
  }

  show(image, size) {
    this.image = image;
    this.size = size;
    this.fit();
  }

  fit() {
    const { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = clientWidth * devicePixelRatio;
    this.canvas.height = clientHeight * devicePixelRatio;
    this.scale = Math.min(clientWidth / this.size.width, clientHeight / this.size.height) || 1;
    this.left = (clientWidth - this.size.width * this.scale) / 2;
    this.top = (clientHeight - this.size.height * this.scale) / 2;
    this.redraw();
  }

  // items: {mask, color, fill, strong, dashed}; the paint of a mask is kept beside it.
  draw(items) {
    this.items = items;
    this.redraw();
  }

  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.paint();
    });
  }

  paint() {
    const context = this.canvas.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.canvas.clientWidth, this.canvas.clientHeight);
    if (!this.image) return;
    context.translate(this.left, this.top);
    context.scale(this.scale, this.scale);
    context.imageSmoothingEnabled = this.scale < 3;
    context.drawImage(this.image, 0, 0, this.size.width, this.size.height);
    for (const item of this.items) this.paintItem(context, item);
    this.paintPrompts(context);
  }

  paintItem(context, item) {
    const key = `${item.color} ${item.fill}`;
    if (item.mask.paintKey !== key) {
      item.mask.paint = paintMask(item.mask, item.color, item.fill);
      item.mask.paintKey = key;
    }
    const { left, top, right, bottom } = item.mask.box;
    context.drawImage(item.mask.paint, left, top, right - left, bottom - top);
    if (item.strong) {
      context.lineWidth = 2 / this.scale;
      context.strokeStyle = item.color;
      context.setLineDash([6 / this.scale, 4 / this.scale]);
      context.strokeRect(left, top, right - left, bottom - top);
      context.setLineDash([]);
    }
  }

  paintPrompts(context) {
    for (const { x, y, label } of this.points) {
      context.beginPath();
      context.arc(x, y, 5 / this.scale, 0, 7);
      context.fillStyle = label ? "#2ecc71" : "#e74c3c";
      context.fill();
      context.lineWidth = 1.5 / this.scale;
      context.strokeStyle = "#fff";
      context.stroke();
    }
    if (this.box) {
      context.lineWidth = 2 / this.scale;
      context.strokeStyle = "#fff";
      context.strokeRect(this.box.x1, this.box.y1, this.box.x2 - this.box.x1, this.box.y2 - this.box.y1);
    }
  }

  at(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return {
      x: (event.clientX - left - this.left) / this.scale,
      y: (event.clientY - top - this.top) / this.scale,
    };
  }

  inside({ x, y }) {
    return x >= 0 && y >= 0 && x <= this.size.width && y <= this.size.height;
  }

  // The smallest mask under a point: an object on another one can be picked.
  under({ x, y }) {
    const hit = this.items.filter((item) => covers(item.mask, x, y));
    return hit.sort((a, b) => a.mask.area - b.mask.area)[0] || null;
  }

  clamp({ x, y }) {
    return { x: Math.min(Math.max(x, 0), this.size.width), y: Math.min(Math.max(y, 0), this.size.height) };
  }

  listen() {
    let start = null, moved = false;
    this.canvas.addEventListener("pointerdown", (event) => {
      start = { client: event, image: this.at(event), left: this.left, top: this.top };
      moved = false;
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      if (!start) return this.handlers.hover(this.at(event), event);
      const dx = event.clientX - start.client.clientX, dy = event.clientY - start.client.clientY;
      if (Math.hypot(dx, dy) > 4) moved = true;
      if (!moved) return undefined;
      if (this.dragsBox) {
        const a = this.clamp(start.image), b = this.clamp(this.at(event));
        this.box = { x1: Math.min(a.x, b.x), y1: Math.min(a.y, b.y), x2: Math.max(a.x, b.x), y2: Math.max(a.y, b.y) };
      } else {
        this.left = start.left + dx;
        this.top = start.top + dy;
      }
      return this.redraw();
    });
    this.canvas.addEventListener("pointerup", (event) => {
      if (!start) return;
      const began = start;
      start = null;
      if (moved && this.dragsBox && this.box) this.handlers.box(this.box);
      else if (!moved && this.inside(began.image)) this.handlers.click(began.image, event);
    });
    this.canvas.addEventListener("pointerleave", () => this.handlers.hover(null));
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const before = this.at(event);
      this.scale = Math.min(Math.max(this.scale * Math.exp(-event.deltaY / 400), 0.02), 60);
      const after = this.at(event);
      this.left += (after.x - before.x) * this.scale;
      this.top += (after.y - before.y) * this.scale;
      this.redraw();
    }, { passive: false });
  }
}
